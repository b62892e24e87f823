"""Django, blocking views: one client for all threads and workers; every worker opens and closes its own connections.

gunicorn --preload --workers 2 --threads 8 django_wsgi_app:app
"""

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse
from django.urls import path

from lisn_sync import Lisn

client = Lisn()


def show(request, assistant_id):
    assistant = client.assistants.get(assistant_id)
    return JsonResponse({"id": assistant.id, "name": assistant.name})


# Yours stand in settings.py and urls.py.
urlpatterns = [path("assistants/<assistant_id>", show)]
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["127.0.0.1"], SECRET_KEY="of your own")
app = get_wsgi_application()
