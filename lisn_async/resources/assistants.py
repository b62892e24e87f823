"""The Assistants API: six calls, and many creates at once (`assistants-api`, table *Endpoints*)."""

from __future__ import annotations

import builtins
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Mapping
from os import PathLike
from typing import overload

from .. import _endpoints
from .._request import Caller
from .._response import RawResponse
from .._secrets import hide
from ..bulk import BulkOutcome, BulkProgress, BulkResult, Exact
from ..models import (
    UNSET,
    Assistant,
    AssistantCreate,
    AssistantType,
    AssistantUpdate,
    LLMProvider,
    STTProvider,
    Unset,
)


class AsyncAssistants:
    """Create and manage AI assistants. Reached as `client.assistants`."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    @property
    def with_raw_response(self) -> AsyncAssistantsWithRawResponse:
        """The same six calls, each returning the `RawResponse` it came in."""
        return AsyncAssistantsWithRawResponse(self._caller)

    async def list(self) -> builtins.list[Assistant]:
        """All assistants of the account.

        Raises `IncompleteListError` (with `.partial`) if the reply says that it is only one page,
        and `APIError`.
        """
        return (await self._caller.call(_endpoints.list_all())).parse()

    @overload
    async def create(
        self, spec: AssistantCreate, *, extra_body: Mapping[str, object] | None = None
    ) -> Assistant: ...

    @overload
    async def create(
        self,
        /,
        *,
        name: str,
        type: AssistantType,
        llm_provider: LLMProvider,
        system_prompt: str,
        description: str | Unset | None = UNSET,
        stt_provider: STTProvider | Unset | None = UNSET,
        stt_model: str | Unset | None = UNSET,
        stt_language: str | Unset | None = UNSET,
        llm_model: str | Unset | None = UNSET,
        temperature: float | Unset | None = UNSET,
        webhook_url: str | Unset | None = UNSET,
        webhook_secret: str | Unset | None = UNSET,
        extra_body: Mapping[str, object] | None = None,
    ) -> Assistant: ...

    async def create(
        self,
        spec: AssistantCreate | None = None,
        *,
        name: str | Unset = UNSET,
        type: AssistantType | Unset = UNSET,
        llm_provider: LLMProvider | Unset = UNSET,
        system_prompt: str | Unset = UNSET,
        description: str | Unset | None = UNSET,
        stt_provider: STTProvider | Unset | None = UNSET,
        stt_model: str | Unset | None = UNSET,
        stt_language: str | Unset | None = UNSET,
        llm_model: str | Unset | None = UNSET,
        temperature: float | Unset | None = UNSET,
        webhook_url: str | Unset | None = UNSET,
        webhook_secret: str | Unset | None = UNSET,
        extra_body: Mapping[str, object] | None = None,
    ) -> Assistant:
        """The assistant that was made, from a spec or from its fields.

        `name`, `type`, `llm_provider` and `system_prompt` are required. A field that is left out is not
        sent, `None` is sent as `null`. `temperature` is 0.0 to 1.0; the `stt_*` fields are for voice
        assistants only. `extra_body` adds top-level JSON fields that the documentation does not name,
        or replaces named ones, unchecked; with a spec, also those that the spec has.

        The request is sent again only when it provably had no effect, so one call never makes two
        assistants. Raises `ValidationError` before anything is sent, naming every wrong field, and
        `APIError`: with `outcome_unknown`, look (`list()`) before you call again.
        """
        if spec or webhook_secret or extra_body:
            spec, webhook_secret, extra_body = hide(spec), hide(webhook_secret), hide(extra_body)
        given = _endpoints.one_spec(
            spec,
            AssistantCreate(
                name=name,
                type=type,
                llm_provider=llm_provider,
                system_prompt=system_prompt,
                description=description,
                stt_provider=stt_provider,
                stt_model=stt_model,
                stt_language=stt_language,
                llm_model=llm_model,
                temperature=temperature,
                webhook_url=webhook_url,
                webhook_secret=webhook_secret,
                extra_body=extra_body,
            ),
        )
        request = _endpoints.create(given, strict=self._caller.strict)
        return (await self._caller.call(request)).parse()

    async def get(self, assistant_id: str) -> Assistant:
        """The assistant with this id. Raises `NotFoundError` if there is none, and `APIError`."""
        return (await self._caller.call(_endpoints.get(assistant_id))).parse()

    async def update(
        self,
        assistant_id: str,
        change: AssistantUpdate | None = None,
        *,
        name: str | Unset = UNSET,
        type: AssistantType | Unset = UNSET,
        llm_provider: LLMProvider | Unset = UNSET,
        system_prompt: str | Unset = UNSET,
        description: str | Unset | None = UNSET,
        stt_provider: STTProvider | Unset | None = UNSET,
        stt_model: str | Unset | None = UNSET,
        stt_language: str | Unset | None = UNSET,
        llm_model: str | Unset | None = UNSET,
        temperature: float | Unset | None = UNSET,
        webhook_url: str | Unset | None = UNSET,
        webhook_secret: str | Unset | None = UNSET,
        extra_body: Mapping[str, object] | None = None,
    ) -> Assistant:
        """The assistant after the change, given as an `AssistantUpdate` or by its fields.

        Fields that are left out stay as they are.

        `None` is sent as `null`. A change carries absolute values, so it is sent again after a lost
        reply. Raises `ValidationError` before anything is sent, and `APIError`.
        """
        if webhook_secret or extra_body:
            webhook_secret, extra_body = hide(webhook_secret), hide(extra_body)
        fields = AssistantUpdate(
            name=name,
            type=type,
            llm_provider=llm_provider,
            system_prompt=system_prompt,
            description=description,
            stt_provider=stt_provider,
            stt_model=stt_model,
            stt_language=stt_language,
            llm_model=llm_model,
            temperature=temperature,
            webhook_url=webhook_url,
            webhook_secret=webhook_secret,
            extra_body=extra_body,
        )
        change = _endpoints.one_change(change, fields)
        request = _endpoints.update(assistant_id, change, strict=self._caller.strict)
        return (await self._caller.call(request)).parse()

    async def delete(self, assistant_id: str) -> None:
        """Nothing, once the assistant is gone.

        Raises `NotFoundError` if there is no such assistant; after a lost reply a 404 means that it
        was this call that deleted it. Raises `APIError`.
        """
        await self._caller.call(_endpoints.delete(assistant_id))

    async def duplicate(self, assistant_id: str) -> Assistant:
        """The copy of an assistant, under an id of its own.

        Like `create`, it is sent again only when it provably had no effect. Raises `APIError`.
        """
        return (await self._caller.call(_endpoints.duplicate(assistant_id))).parse()

    async def create_many(
        self,
        specs: Iterable[AssistantCreate | Mapping[str, object]]
        | AsyncIterable[AssistantCreate | Mapping[str, object]],
        *,
        max_concurrency: int = 64,
        journal: str | PathLike[str] | None = None,
        on_progress: Callable[[BulkProgress], None] | None = None,
        settle: float | None = None,
        give_up_after: float = 300.0,
        exact: Exact = "content",
    ) -> BulkResult:
        """The outcome of every item, in input order, up to `max_concurrency` of them under way at once.

        `specs` is read lazily. One bad item never stops the others: look at `.failed` and `.unknown`
        of the result, or call its `raise_for_failures()`. The assistants are listed once before the
        first create, so a wrong token or a dead server raises before anything is made. `on_progress`
        is called after every outcome.

        Nothing is created twice: a create whose reply was lost is looked for in a listing, and sent
        again only if it certainly does not exist; where that cannot be told it ends as "unknown".
        A listing is believed `settle` seconds after the last lost reply (by default 2, plus the
        client's `timeout` where the service may still be at work). Items that the service declined
        (429) or that were never sent are tried again, whatever `max_retries` says, until no item has
        succeeded for `give_up_after` seconds.

        With `journal`, a file, all this also holds across crashes: run again with the same file and
        the same specs, and what is missing is created. Items that were refused are tried again;
        those that an earlier run created are outcomes as well, their assistants built from spec and id.

        `exact` says how an assistant is recognised whose reply was lost. "content": it shows what was sent.
        That cannot be told apart from one that somebody else makes at the same time with the same content,
        and not recognised where the service changes what it is sent (such items end as "unknown").
        "marker": each is created under a name that only this run can know, and renamed at once, which costs
        a second request for each; until then others see it under that name.

        Assistants that were made all the same after a listing had shown that they do not exist, seconds
        late, are in `.surplus` of the result.

        Raises `ConfigurationError` for options out of range, `JournalError` if the journal is damaged,
        in use or of another job, `APIError` if the first listing fails, and `BulkError`, which carries
        the result so far, if the input itself or `on_progress` raises.
        """
        specs = hide(specs)
        from ..bulk import engine, options  # here: most programs never make many

        chosen = options.checked(
            max_concurrency=max_concurrency,
            journal=journal,
            on_progress=on_progress,
            settle=settle,
            give_up_after=give_up_after,
            exact=exact,
        )
        return await engine.create_many(self._caller, specs, chosen)

    def create_each(
        self,
        specs: Iterable[AssistantCreate | Mapping[str, object]]
        | AsyncIterable[AssistantCreate | Mapping[str, object]],
        *,
        max_concurrency: int = 64,
        journal: str | PathLike[str] | None = None,
        on_progress: Callable[[BulkProgress], None] | None = None,
        settle: float | None = None,
        give_up_after: float = 300.0,
        exact: Exact = "content",
    ) -> AsyncGenerator[BulkOutcome, None]:
        """The outcomes of `create_many` as a stream, in order of completion; ambiguous ones come last.

        Memory does not grow with the input: items are read only as fast as outcomes are taken.
        Leaving the loop early cancels what is under way; `contextlib.aclosing` makes that happen at
        once. If the input itself raises, so does the stream, after the outcomes of what it gave.
        """
        specs = hide(specs)
        from ..bulk import engine, options  # here: most programs never make many

        chosen = options.checked(
            max_concurrency=max_concurrency,
            journal=journal,
            on_progress=on_progress,
            settle=settle,
            give_up_after=give_up_after,
            exact=exact,
        )
        return engine.create_each(self._caller, specs, chosen)

    async def duplicate_many(
        self,
        assistant_id: str,
        count: int,
        *,
        max_concurrency: int = 64,
        journal: str | PathLike[str] | None = None,
        on_progress: Callable[[BulkProgress], None] | None = None,
        settle: float | None = None,
        give_up_after: float = 300.0,
    ) -> BulkResult:
        """The outcome of every copy of an assistant, `count` of them, up to `max_concurrency` at once.

        All that `create_many` promises holds: no copy is made twice, none is lost silently, and a run with
        a `journal` survives crashes. `.spec` of an outcome is what a copy is: the original's own fields. A
        copy whose reply was lost is recognised by them, whatever the service adds to its name.

        Raises `ValidationError` for a bad id or count, `NotFoundError` if there is no such assistant, and
        what `create_many` raises; `JournalError` also if the original is no longer what it was when the
        journal was begun.
        """
        from ..bulk import engine, options  # here: most programs never make many

        chosen = options.checked(
            max_concurrency=max_concurrency,
            journal=journal,
            on_progress=on_progress,
            settle=settle,
            give_up_after=give_up_after,
        )
        return await engine.duplicate_many(self._caller, assistant_id, count, chosen)


class AsyncAssistantsWithRawResponse:
    """The six calls of `AsyncAssistants`, each returning its result inside the HTTP reply it came in."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def list(self) -> RawResponse[builtins.list[Assistant]]:
        """All assistants of the account, with the reply they came in."""
        return await self._caller.call(_endpoints.list_all())

    @overload
    async def create(
        self, spec: AssistantCreate, *, extra_body: Mapping[str, object] | None = None
    ) -> RawResponse[Assistant]: ...

    @overload
    async def create(
        self,
        /,
        *,
        name: str,
        type: AssistantType,
        llm_provider: LLMProvider,
        system_prompt: str,
        description: str | Unset | None = UNSET,
        stt_provider: STTProvider | Unset | None = UNSET,
        stt_model: str | Unset | None = UNSET,
        stt_language: str | Unset | None = UNSET,
        llm_model: str | Unset | None = UNSET,
        temperature: float | Unset | None = UNSET,
        webhook_url: str | Unset | None = UNSET,
        webhook_secret: str | Unset | None = UNSET,
        extra_body: Mapping[str, object] | None = None,
    ) -> RawResponse[Assistant]: ...

    async def create(
        self,
        spec: AssistantCreate | None = None,
        *,
        name: str | Unset = UNSET,
        type: AssistantType | Unset = UNSET,
        llm_provider: LLMProvider | Unset = UNSET,
        system_prompt: str | Unset = UNSET,
        description: str | Unset | None = UNSET,
        stt_provider: STTProvider | Unset | None = UNSET,
        stt_model: str | Unset | None = UNSET,
        stt_language: str | Unset | None = UNSET,
        llm_model: str | Unset | None = UNSET,
        temperature: float | Unset | None = UNSET,
        webhook_url: str | Unset | None = UNSET,
        webhook_secret: str | Unset | None = UNSET,
        extra_body: Mapping[str, object] | None = None,
    ) -> RawResponse[Assistant]:
        """The assistant that was made, with the reply it came in."""
        if spec or webhook_secret or extra_body:
            spec, webhook_secret, extra_body = hide(spec), hide(webhook_secret), hide(extra_body)
        given = _endpoints.one_spec(
            spec,
            AssistantCreate(
                name=name,
                type=type,
                llm_provider=llm_provider,
                system_prompt=system_prompt,
                description=description,
                stt_provider=stt_provider,
                stt_model=stt_model,
                stt_language=stt_language,
                llm_model=llm_model,
                temperature=temperature,
                webhook_url=webhook_url,
                webhook_secret=webhook_secret,
                extra_body=extra_body,
            ),
        )
        request = _endpoints.create(given, strict=self._caller.strict)
        return await self._caller.call(request)

    async def get(self, assistant_id: str) -> RawResponse[Assistant]:
        """The assistant with this id, with the reply it came in."""
        return await self._caller.call(_endpoints.get(assistant_id))

    async def update(
        self,
        assistant_id: str,
        change: AssistantUpdate | None = None,
        *,
        name: str | Unset = UNSET,
        type: AssistantType | Unset = UNSET,
        llm_provider: LLMProvider | Unset = UNSET,
        system_prompt: str | Unset = UNSET,
        description: str | Unset | None = UNSET,
        stt_provider: STTProvider | Unset | None = UNSET,
        stt_model: str | Unset | None = UNSET,
        stt_language: str | Unset | None = UNSET,
        llm_model: str | Unset | None = UNSET,
        temperature: float | Unset | None = UNSET,
        webhook_url: str | Unset | None = UNSET,
        webhook_secret: str | Unset | None = UNSET,
        extra_body: Mapping[str, object] | None = None,
    ) -> RawResponse[Assistant]:
        """The assistant after the change, with the reply it came in."""
        if webhook_secret or extra_body:
            webhook_secret, extra_body = hide(webhook_secret), hide(extra_body)
        fields = AssistantUpdate(
            name=name,
            type=type,
            llm_provider=llm_provider,
            system_prompt=system_prompt,
            description=description,
            stt_provider=stt_provider,
            stt_model=stt_model,
            stt_language=stt_language,
            llm_model=llm_model,
            temperature=temperature,
            webhook_url=webhook_url,
            webhook_secret=webhook_secret,
            extra_body=extra_body,
        )
        change = _endpoints.one_change(change, fields)
        request = _endpoints.update(assistant_id, change, strict=self._caller.strict)
        return await self._caller.call(request)

    async def delete(self, assistant_id: str) -> RawResponse[None]:
        """Nothing, once the assistant is gone, with the reply that said so."""
        return await self._caller.call(_endpoints.delete(assistant_id))

    async def duplicate(self, assistant_id: str) -> RawResponse[Assistant]:
        """The copy of an assistant, with the reply it came in."""
        return await self._caller.call(_endpoints.duplicate(assistant_id))
