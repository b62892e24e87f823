"""Hours in minutes: an async backend and eight threads, both on the SDK, against a sandbox that breaks all the time.

    the callers (in the parent) --HTTP--> a backend on AsyncLisn --+
                                                                   +--HTTP--> the sandbox, with faults
                                 eight threads on one Lisn --------+

Each side writes down every call it made and what it was told (`book`). In the end that is held against what the
sandbox has and did (`reconciling`): nothing may be left that no call accounts for. Meanwhile memory, open files,
tasks and threads of both sides are sampled (`sampling`).
"""
