"""Jobs as documents for people and programs."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from afterword.admin.document import given_arguments, job_document
from afterword.tasks.arguments import UNSET, plan
from tests.values import a_record


class Item(BaseModel):
    """A model with a field that is rarely set."""

    number: int
    size: int = 1


def pack(item: Item, note: str) -> None:
    """A task."""


STORED = plan(pack).encode((Item(number=7), 'a,"#unset":b'), {})


def test_the_note_on_fields_that_were_not_set_is_no_argument() -> None:
    assert UNSET in STORED
    arguments = job_document(a_record(arguments=STORED))["arguments"]

    assert {"item": {"number": 7, "size": 1}, "note": 'a,"#unset":b'} == arguments
    assert arguments == json.loads(given_arguments(STORED))


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "",
        '{"a":1.10}',
        '{"a":{"b":1,"#unset":2}}',
        '{"a":",\\"#unset\\":"}',
        '{"a":1,"#unset":',
        '[1,"#unset":2]',
        '{"a":{},"#unset":1}}',
    ],
)
def test_everything_else_stays_as_it_is(text: str) -> None:
    assert text == given_arguments(text)


@given(
    st.dictionaries(
        st.text(max_size=9), st.text(max_size=9) | st.floats(allow_nan=False, allow_infinity=False)
    )
)
def test_all_arguments_are_kept(values: dict[str, object]) -> None:
    values.pop(UNSET, None)
    text = json.dumps({"item": 1, **values}, separators=(",", ":"))

    assert text == given_arguments(text)
    assert text == given_arguments(text[:-1] + ',"#unset":[[["size"],[["item"]]]]}')
