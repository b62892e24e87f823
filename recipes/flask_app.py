"""Flask: one client for all threads and workers; every worker opens connections of its own and closes them at its end.

gunicorn --preload --workers 2 --threads 8 flask_app:app
"""

from flask import Flask

from lisn_sync import Lisn

client = Lisn()
app = Flask(__name__)


@app.get("/assistants/<assistant_id>")
def show(assistant_id):
    assistant = client.assistants.get(assistant_id)
    return {"id": assistant.id, "name": assistant.name}
