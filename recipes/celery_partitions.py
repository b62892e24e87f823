"""A bulk job on Celery workers, of one machine or of many that share a folder: a task for every partition.

REDIS_URL=redis://... celery --app celery_partitions worker --pool prefork --concurrency 4
REDIS_URL=redis://... python celery_partitions.py ITEMS.jsonl FOLDER

A task whose worker dies is done by another, from the same journal: what is missing is created, and nothing twice. One
that Celery hands out twice asks again until the other is done with the journal, and finds nothing left to do. What was
under way when a worker died is looked for after `timeout` and two seconds. Why the partition follows from the name, what
exact="marker" is for, and why the 4 belongs to the job: see process_pool.py.
"""

import json
import os
import sys
from pathlib import Path
from zlib import crc32

from celery import Celery, group

from lisn_sync import JournalInUseError, Lisn, RateLimit

app = Celery("celery_partitions", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])
app.conf.update(task_acks_late=True, task_reject_on_worker_lost=True)
lisn = Lisn(timeout=5, rate_limit=RateLimit(100, per_seconds=1, redis=os.environ["REDIS_URL"]))


@app.task(autoretry_for=(JournalInUseError,), default_retry_delay=5, max_retries=None)
def create_part(items, folder, of, part):
    specs = map(json.loads, Path(items).read_bytes().splitlines())
    mine = [spec for spec in specs if crc32(spec["name"].encode()) % of == part]
    return len(lisn.assistants.create_many(mine, journal=f"{folder}/{part}.journal", exact="marker").created)


if __name__ == "__main__":
    print(sum(group(create_part.s(*sys.argv[1:], 4, part) for part in range(4))().get()), "created")
