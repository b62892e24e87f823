"""Django, async views: the client closes with the event loop of its server, for ASGI servers send Django no lifespan.

uvicorn django_asgi_app:app --timeout-graceful-shutdown 0
"""

import json

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import JsonResponse
from django.urls import path

from lisn_async import AsyncLisn

client = AsyncLisn()


async def create(request):
    return JsonResponse({"id": (await client.assistants.create(json.loads(request.body))).id})


# Yours stand in settings.py and urls.py.
urlpatterns = [path("assistants", create)]
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["127.0.0.1"], SECRET_KEY="of your own")
app = get_asgi_application()
