"""Celery: one client for each worker process, made at import, and one rate limit for all of them, kept in Redis.

REDIS_URL=redis://... celery --app celery_calls worker --pool prefork --concurrency 4

What Celery may try again is a create that was declined: it had no effect. One that may have taken effect raises an
error that says so (`outcome_unknown`). For many assistants there is celery_partitions.py, which finds out.
"""

import os

from celery import Celery

from lisn_sync import Lisn, RateLimit, RateLimitError

app = Celery("celery_calls", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])
client = Lisn(rate_limit=RateLimit(600, per_seconds=60, burst=20, redis=os.environ["REDIS_URL"]))


@app.task(autoretry_for=(RateLimitError,), retry_backoff=True)
def create(spec):
    return client.assistants.create(spec).id
