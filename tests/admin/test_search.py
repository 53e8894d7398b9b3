"""The language of searches."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from afterword.admin.search import Search, parse, word, words_of
from afterword.dashboard.rendering import readable
from afterword.errors import ConfigurationError
from afterword.model.failures import name_of
from afterword.model.job import JobState
from afterword.model.records import Filter
from tests.values import a_record


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Filter()),
        ("task:app.mail:send", Filter(task="app.mail:send")),
        ("app.mail:send", Filter(task="app.mail:send")),
        ("state:failed", Filter(state=JobState.FAILED)),
        ("STATE:Failed", Filter(state=JobState.FAILED)),
        ('error:"no such order"', Filter(error="no such order")),
        ("refused", Filter(error="refused")),
        ('"connection: refused"', Filter(error="connection: refused")),
        ("tag:customer:42 queue:mail", Filter(tag="customer:42", queue="mail")),
        ("request:r-1 worker:w", Filter(request_id="r-1", worker="w")),
        ("since:1h", Filter(since=3600.0)),
        (r'tag:"say \"hi\""', Filter(tag='say "hi"')),
        (r'error:"C:\\temp\new"', Filter(error=r"C:\temp\new")),
        (r"error:C:\\temp", Filter(error=r"C:\\temp")),
        (r'tag:"\u00e9\u002"', Filter(tag=r"é\u002")),
        ('tag:a" b"c', Filter(tag="a bc")),
        ('tag:"no end', Filter(tag="no end")),
        ('tag:"no end\\', Filter(tag="no end\\")),
        (r'tag:"no end\" queue:b', Filter(tag='no end" queue:b')),
    ],
)
def test_words_select_jobs(text: str, expected: Filter) -> None:
    assert expected == parse(text, now=7200.0).filter


@pytest.mark.parametrize("text", ["id:456789ab", "456789ab", "0193e5f0-7c1a"])
def test_a_word_of_hexadecimal_digits_is_an_id(text: str) -> None:
    assert (text.removeprefix("id:"),) == parse(text, now=0.0).ids


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("state:lost", "must be one of queued, running"),
        ("since:yesterday", "since: is not understood"),
        ("queu:mail-1", "must use the qualifiers"),
        ("task:", "needs a value"),
        ('task:""', "needs a value"),
        ("task:a\0b", "NUL"),
        ("group:", "needs a value"),
        ("arg.note:", "needs a value"),
        (r'tag:"\ud800"', "half a surrogate pair"),
        ("x" * 4_001, "at most 4,000 characters"),
    ],
)
def test_a_mistake_is_explained(text: str, part: str) -> None:
    with pytest.raises(ConfigurationError, match=part):
        parse(text, now=0.0)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("arg.user_id:7", True),
        ("arg.user_id:8", False),
        ("arg.user.name:ada", True),
        ("arg.user.0:ada", False),
        ("arg.items.1:b", True),
        ("arg.items.2:b", False),
        ("arg.with.dot:yes", True),
        ("arg.flag:true", True),
        ("arg.flag:True", False),
        ("arg.none:null", True),
        ("arg.missing:null", False),
        ('arg.note:"two words"', True),
        (r'arg.said:"say \"hi\""', True),
        ('arg.empty:""', True),
        ('arg.note:""', False),
        ("arg.big:12345678901234567890", True),
    ],
)
def test_arguments_are_found_by_path(text: str, found: bool) -> None:
    job = a_record(
        arguments='{"user_id":7,"user":{"name":"ada"},"items":["a","b"],"with.dot":"yes",'
        '"flag":true,"none":null,"note":"two words","empty":"",'
        '"said":"say \\"hi\\"","big":12345678901234567890}'
    )

    assert found is parse(text, now=0.0).matches(job)


@pytest.mark.parametrize("arguments", ["", "[", "7", "null", "[[[["])
def test_damaged_arguments_match_nothing(arguments: str) -> None:
    assert parse("arg.a:1", now=0.0).matches(a_record(arguments=arguments)) is False


def test_a_search_moves_to_another_state() -> None:
    search = parse('state:failed error:"no order"', now=0.0)

    assert 'error:"no order" state:queued' == search.in_state(JobState.QUEUED).text
    assert 'error:"no order"' == search.in_state(None).text
    assert Filter(error="no order") == search.in_state(None).filter


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
ODD = st.text('"\\\\: \t\nu0ae\u202e\x1b~', min_size=1)  # the language's own characters


@given(st.sampled_from(["task", "queue", "error", "tag", "worker"]), TEXT | ODD)
def test_a_written_word_is_read_as_the_same_value(name: str, value: str) -> None:
    written = word(name, value)
    search = parse(f"state:failed {written} arg.more:7", now=0.0)

    assert value == getattr(search.filter, name)
    assert (JobState.FAILED, (("more", "7"),)) == (search.filter.state, search.arguments)
    assert written == readable(written)  # pages and terminals show it unchanged
    assert search == parse(search.text, now=0.0)


@settings(max_examples=300)
@example('" ')
@given(TEXT | ODD)
def test_words_may_follow_any_search(text: str) -> None:
    """A quote may be missing before; and the search that is shown means the same."""
    try:
        search = parse(text, now=0.0)
    except ConfigurationError:
        return

    assert search == parse(search.text, now=0.0)
    assert "behind" == parse(f"{search.text} tag:behind", now=0.0).filter.tag
    moved = search.in_state(JobState.QUEUED)
    assert moved.filter == parse(moved.text, now=0.0).filter


@given(st.text())
def test_any_text_is_a_search_or_a_mistake(text: str) -> None:
    try:
        search = parse(text, now=0.0)
    except ConfigurationError:
        return
    assert isinstance(search, Search)
    assert len(words_of(text)) >= len(search.ids)


# ---------------------------------------------------------------------- groups of failures


def test_a_group_is_searched_for_by_its_name() -> None:
    search = parse('task:shop:pack group:"KeyError: <text>"', now=0.0)

    assert Filter(task="shop:pack", error="KeyError") == search.filter
    assert search.reads_jobs
    assert search.matches(a_record(error="KeyError: 'b'"))
    assert not search.matches(a_record(error="KeyError: 7"))
    assert not search.matches(a_record(error=None))


def test_a_group_may_be_narrowed_by_text_of_its_errors() -> None:
    search = parse('group:"KeyError: <text>" error:order', now=0.0)

    assert ("order", "order") == (search.filter.error, search.error)
    assert parse('group:"KeyError: <text>"', now=0.0).error is None


@given(st.text(max_size=80))
def test_every_name_of_a_group_can_be_searched_for(error: str) -> None:
    name = name_of(f"ValueError: {error}")

    search = parse(f"state:failed {word('group', name)} task:a:b", now=0.0)

    assert name == search.group
    assert ("a:b", JobState.FAILED) == (search.filter.task, search.filter.state)
    assert name == search.in_state(None).group == parse(search.in_state(None).text, now=0.0).group
