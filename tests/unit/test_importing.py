"""Import files: what is read, what is refused, and why."""

import io
import json

import pytest

from tasks.errors import InvalidInput
from tasks.import_lines import LINE_LIMIT
from tasks.importing import BadLine, Line, format_of, read_lines

GOOD = {"app_id": "shop", "id": "orders", "name": "Orders", "webhookURL": "https://x.example/"}
HEADER = "app_id,id,name,webhookURL,username,password,enabled"
ROW = "shop,orders,Orders,https://x.example/,,,"


def read(text, form="jsonl"):
    raw = text if isinstance(text, bytes) else text.encode()
    return list(read_lines(io.BytesIO(raw), form))


def lines_of(*objects):
    return "".join(json.dumps(each) + "\n" for each in objects)


def reason(text, form="jsonl"):
    [bad] = [line for line in read(text, form) if isinstance(line, BadLine)]
    return bad.reason


def test_a_json_line_is_read_under_both_kinds_of_names():
    python_names = {
        "app_id": "shop",
        "id": "users",
        "name": "Users",
        "webhook_url": "https://x.example/",
        "retry_on_failure": True,
    }

    first, second = read(lines_of({**GOOD, "enabled": False}, python_names))

    assert (first.number, first.app_id, first.webhook.enabled) == (1, "shop", False)
    assert second.webhook.wire()["retryOnFailure"] is True


def test_a_csv_row_is_read_with_empty_cells_as_not_set():
    [line] = read(f"{HEADER}\n{ROW}false\n", "csv")

    assert isinstance(line, Line)
    assert line.webhook.wire() == {
        "id": "orders",
        "name": "Orders",
        "webhookURL": "https://x.example/",
        "enabled": False,
    }


def test_csv_cells_may_be_quoted_and_columns_in_any_order():
    [line] = read('webhook_url, name ,id,app_id\nhttps://x.example/,"Orders, all",o,shop\n', "csv")

    assert line.webhook.name == "Orders, all"


@pytest.mark.parametrize("form", ["jsonl", "csv"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_byte_order_mark_line_ends_and_blank_lines_do_no_harm(form, newline, bom):
    rows = [HEADER, ROW] if form == "csv" else [json.dumps(GOOD)]
    text = newline.join(["", *rows, "  ", ""])

    [line] = read(bom + text.encode(), form)

    assert line.number == len(rows) + 1


def test_the_last_line_needs_no_line_end():
    assert len(read(lines_of(GOOD, {**GOOD, "id": "b"}).rstrip("\n"))) == 2


def test_an_empty_file_of_json_lines_holds_nothing():
    assert read("") == []
    assert read(b"\xef\xbb\xbf\n") == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not JSON: Expecting property name"),
        ("[1, 2]", "is not a JSON object"),
        ('"text"', "is not a JSON object"),
        ("[" * 30_000, "nested too deeply"),
        ('{"id": ' + "9" * 5_000 + "}", "too long a number"),
        ('{"id": "a", "id": "b"}', "has a field twice"),
        (b'{"id": "\xff"}', "is not UTF-8 text (byte 9)"),
        (lines_of({**GOOD, "app_id": None}), "app_id: is required"),
        (lines_of({**GOOD, "app_id": ["x"]}), "app_id: must be text (is list)"),
        (lines_of({**GOOD, "app_id": "a b"}), "app_id: only ASCII letters"),
        (lines_of({**GOOD, "webhookURL": "http://x"}), "webhookURL: must start with https://"),
        (lines_of({**GOOD, "webhookUrl": "x"}), "did you mean 'webhookURL'?"),
        (lines_of({**GOOD, "username": "u"}), "needs username and password"),
        (lines_of({"name": 7}), "app_id: is required; id: is required; name: must be text"),
    ],
)
def test_a_bad_json_line_has_a_reason(text, words):
    assert words in reason(text)


def test_numbers_of_bad_lines_count_blank_and_long_ones():
    long = json.dumps({**GOOD, "name": "x" * LINE_LIMIT})

    found = read("\n" + long + "\n\n" + lines_of(GOOD) + "nope\n")

    assert [line.number for line in found] == [2, 4, 5]
    assert found[0] == BadLine(2, "is longer than 64 KiB")
    assert isinstance(found[1], Line)


@pytest.mark.parametrize("length", [LINE_LIMIT - 1, LINE_LIMIT, LINE_LIMIT + 1, 3 * LINE_LIMIT])
def test_the_bound_of_a_line_is_exact(length):
    text = json.dumps(GOOD)
    first, second = read(text.ljust(length) + "\n" + lines_of(GOOD))

    assert isinstance(first, Line) == (length <= LINE_LIMIT)
    assert isinstance(second, Line)


def test_a_byte_order_mark_makes_no_second_line_of_a_long_one():
    found = read(b"\xef\xbb\xbf" + b"x" * LINE_LIMIT + json.dumps(GOOD).encode())

    assert found == [BadLine(1, "is longer than 64 KiB")]


def test_a_field_that_no_text_can_name_is_told():
    words = reason('{"pa\\ud800ssword": "hunter2"}')

    assert words.endswith(r"unknown field 'pa\ud800ssword'; did you mean 'password'?")


def test_of_many_unknown_fields_the_first_are_told():
    many = {f"name{number}": 1 for number in range(3_000)}
    words = reason(lines_of({**GOOD, **many}))

    assert "unknown field 'name0'; did you mean 'name'?" in words
    assert words.endswith("and 2980 more") and len(words) < 2_000


def test_of_many_unknown_columns_the_first_are_told():
    many = ",".join(f"c{number}" for number in range(10_000))
    with pytest.raises(InvalidInput) as refused:
        read(f"{HEADER},{many}", "csv")

    assert "columns: 8, 9, 10" in str(refused.value) and " and 9980 more" in str(refused.value)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("shop,orders", "has 2 cells for 7 columns"),
        (ROW + ",,", "has 9 cells for 7 columns"),
        ('shop,"orders,Orders,https://x.example/,,,', "a quoted cell must end on its line"),
        ("shop,orders,Orders,https://x.example/,,,yes", "enabled: must be true or false"),
        ("shop,,Orders,https://x.example/,,,", "id: is required"),
        (",orders,Orders,https://x.example/,,,", "app_id: is required"),
    ],
)
def test_a_bad_csv_row_has_a_reason_and_the_next_one_is_read(row, words):
    bad, good = read(f"{HEADER}\n{row}\n{ROW}\n", "csv")

    assert bad.number == 2
    assert words in bad.reason
    assert isinstance(good, Line)


def test_rows_of_nothing_but_commas_are_blank():
    assert len(read(f"{HEADER}\n{ROW}\n,,,,,,\n", "csv")) == 1


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("", "missing: app_id, id, name, webhookURL"),
        ("app_id,id,name", "missing: webhookURL"),
        ("app_id,id,name,webhookURL,id", "given twice: id"),
        ("app_id,id,name,webhookURL,webhook_url", "given twice: webhookURL"),
        ("app_id,id,name,webhookURL,colour,size", "unknown names in columns: 5, 6"),
        ("app_id;id;name;webhookURL", "not separated by commas"),
        ("app_id\tid\tname\twebhookURL", "not separated by commas"),
        ('app_id,"id', "a quoted cell must end"),
        (b"\xfe,id", "is not UTF-8"),
    ],
)
def test_a_csv_file_whose_columns_do_not_fit_is_refused_as_a_whole(header, words):
    with pytest.raises(InvalidInput, match="Line 1 must name the columns") as caught:
        read(header, "csv")

    assert words in str(caught.value)


def test_a_file_in_utf_16_is_refused_as_a_whole():
    with pytest.raises(InvalidInput, match="UTF-16; save it as UTF-8"):
        read(lines_of(GOOD).encode("utf-16"))


def test_lines_that_contradict_an_earlier_one_are_bad():
    again = {**GOOD, "enabled": True}
    other = {**GOOD, "name": "Others"}
    elsewhere = {**other, "app_id": "shop-2"}

    found = read(lines_of(GOOD, again, other, elsewhere))

    assert found[2] == BadLine(3, "is for the webhook of line 1, with other values")
    assert [type(line) for line in found] == [Line, Line, BadLine, Line]


SECRET = "Hunter2Hunter2"


@pytest.mark.parametrize(
    ("text", "form"),
    [
        (lines_of({**GOOD, "username": "u", "password": f"{SECRET} "}), "jsonl"),
        (lines_of({**GOOD, "id": f"{SECRET}!", "name": "\n" + SECRET}), "jsonl"),
        (lines_of({**GOOD, "app_id": f"{SECRET}!"}), "jsonl"),
        (lines_of({**GOOD, "webhookURL": f"https://u:{SECRET}@x.example/"}), "jsonl"),
        ('{"password": "' + SECRET + '", oops}', "jsonl"),
        (b'{"password": "' + SECRET.encode() + b'\xff"}', "jsonl"),
        (f"{HEADER}\nshop,orders,Orders,https://x.example/,u,{SECRET}\n", "csv"),
        (f"{HEADER}\nshop,{SECRET}!,Orders,https://x.example/,u,{SECRET}#,\n", "csv"),
        (f'{HEADER}\nshop,orders,Orders,https://x.example/,u,"{SECRET},true\n', "csv"),
        (f'{HEADER}\nshop,orders,Orders,https://x.example/,u,"{SECRET}"x,true\n', "csv"),
        (f"shop,orders,Orders,https://x.example/,u,{SECRET},true\n", "csv"),
    ],
)
def test_no_reason_holds_a_value(text, form):
    try:
        told = reason(text, form)
    except InvalidInput as error:
        told = str(error)

    assert told
    assert SECRET not in told


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("a/b.jsonl", "jsonl"),
        ("B.NDJSON", "jsonl"),
        ("b.json", "jsonl"),
        ("b.CSV", "csv"),
        ("b.txt", None),
        ("b", None),
    ],
)
def test_the_name_tells_the_format(path, form):
    assert format_of(path) == form
