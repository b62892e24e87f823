"""Flask: one client for the whole program, its threads and its workers.

    gunicorn --preload --workers 2 --threads 8 flask_app:app

`Lisn()` opens nothing. Every worker opens connections of its own at its first call, also with `--preload`, and closes
them when it ends: there is nothing to set up or to shut down. Address and token come from the environment.
"""

from flask import Flask

from lisn_sync import Lisn

client = Lisn()
app = Flask(__name__)


@app.get("/assistants/<assistant_id>")
def show(assistant_id: str) -> dict[str, object]:
    assistant = client.assistants.get(assistant_id)
    return {"id": assistant.id, "name": assistant.name}
