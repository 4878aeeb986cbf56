from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pseudolabel_kit.errors import ConfigError
from pseudolabel_kit.plugin.reference import Reference, parse, parse_list

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,8}(/[a-z0-9][a-z-]{0,5})?", fullmatch=True)
values = st.text().filter(lambda text: ":" not in text and "," not in text)
options = st.dictionaries(
    st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True), values, max_size=3
)
references = st.builds(lambda name, given: Reference(name, tuple(given.items())), names, options)


@given(references)
def test_a_reference_survives_its_text(reference: Reference) -> None:
    assert parse(str(reference)) == reference


@given(st.text(alphabet="ab/:=,.0- ", max_size=20))
def test_what_parses_is_given_back_unchanged(text: str) -> None:
    try:
        parsed = parse(text)
    except ConfigError:
        return
    assert str(parsed) == text


@given(st.lists(references.filter(lambda each: each.name != "none"), unique=True, max_size=3))
def test_a_list_survives_its_text(chosen: list[Reference]) -> None:
    assert parse_list(",".join(map(str, chosen)) or "none") == tuple(chosen)


def test_one_part_may_stand_in_a_list_with_other_options() -> None:
    assert [str(each) for each in parse_list("ig:steps=8,ig:steps=64")] == [
        "ig:steps=8",
        "ig:steps=64",
    ]


def test_a_value_may_hold_an_equals_sign_and_be_empty() -> None:
    assert parse("a:x=y=z:w=").options == (("x", "y=z"), ("w", ""))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "'' is not a part's name"),
        (" ig", "' ig' is not a part's name"),
        ("a/b/c", "'a/b/c' is not a part's name"),
        ("/ig", "'/ig' is not a part's name"),
        ("ig:", "'' is not option=value"),
        ("ig:steps", "'steps' is not option=value"),
        ("ig:=8", "'' is not an option's name"),
        ("ig:my steps=8", "'my steps' is not an option's name"),
        ("ig:steps=8:steps=9", "option 'steps' is given twice"),
        ("ig,caam", "expected one part"),
    ],
)
def test_malformed_references_are_pointed_at(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert complaint in str(caught.value)
    assert f"reference '{text}'" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("ig,ig", "'ig' is given twice"),
        ("ig,none", "'none' stands alone"),
        ("ig,", "'' is not a part's name"),
        ("ig, caam", "' caam' is not a part's name"),
    ],
)
def test_malformed_lists_are_pointed_at(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        parse_list(text)


def test_none_is_the_empty_list_but_a_part_where_one_is_expected() -> None:
    assert parse_list("none") == ()
    assert parse("none").name == "none"


def test_a_value_that_no_text_could_give_is_refused() -> None:
    with pytest.raises(ConfigError, match="holds ':' or ','"):
        Reference("manifest", (("path", "a:b"),))
