"""Flask: what its callers are told when Lisn fails.

gunicorn --preload --workers 2 --threads 8 flask_errors:app
"""

from flask_app import app
from lisn_answers import answer

from lisn_sync import LisnError


@app.errorhandler(LisnError)
def lisn_failed(error):
    return answer(error)
