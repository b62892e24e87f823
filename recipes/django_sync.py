"""Django with blocking views: one client for the whole program, its threads and its workers.

    gunicorn --preload --workers 2 --threads 8 django_sync:application

`Lisn()` opens nothing. Every worker opens connections of its own at its first call, also with `--preload`, and closes
them when it ends: there is nothing to set up or to shut down. Address and token come from the environment.
"""

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path

from lisn_sync import Lisn

client = Lisn()


def show(request: HttpRequest, assistant_id: str) -> JsonResponse:
    assistant = client.assistants.get(assistant_id)
    return JsonResponse({"id": assistant.id, "name": assistant.name})


urlpatterns = [path("assistants/<assistant_id>", show)]

# What in a project stands in settings.py and wsgi.py:
settings.configure(ROOT_URLCONF=__name__, SECRET_KEY="for a recipe", ALLOWED_HOSTS=["127.0.0.1"])
application = get_wsgi_application()
