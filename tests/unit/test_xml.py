"""The door to XML: whatever comes in is a bounded tree or MalformedXML, and what goes out can be read back."""

import re
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import S3Error
from holdfast.limits import XML_BYTES, XML_DEPTH, XML_NODES
from holdfast.xml import Element, document, element, encode_key, escape, parse_xml

KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def refused(body: bytes, root: str = "D") -> None:
    with pytest.raises(S3Error) as caught:
        parse_xml(body, root)
    assert caught.value.code == "MalformedXML"


def shape(node: Element) -> object:
    return (node.name, node.text, [shape(child) for child in node.children])


def test_names_are_compared_without_their_namespace() -> None:
    for attribute in ("", ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"', ' xmlns="urn:other"'):
        root = parse_xml(f"<D{attribute}><K>a</K><L/><K>b</K></D>".encode(), "D")
        assert [child.text for child in root.all("K")] == ["a", "b"]
        assert (root.get("K"), root.get("L"), root.get("M"), root.find("M")) == ("a", "", None, None)
    prefixed = parse_xml(b'<s:D xmlns:s="urn:x"><s:K>a</s:K></s:D>', "D")
    assert prefixed.get("K") == "a"


def test_text_is_kept_exactly() -> None:
    body = "<?xml version='1.0'?><D>\n <K> a&amp;b&#13;&#10;é<![CDATA[<&>]]></K>\n</D>".encode()
    root = parse_xml(body, "D")
    assert root.get("K") == " a&b\r\né<&>"
    assert root.text == ""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1"])
def test_declared_encodings_are_read(encoding: str) -> None:
    body = f'<?xml version="1.0" encoding="{encoding}"?><D>é</D>'.encode(encoding)
    assert parse_xml(body, "D").text == "é"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"\x00",
        b"text",
        b"<D>",
        b"<D></E>",
        b"<D/><D/>",
        b"<E/>",
        b"<D>&unknown;</D>",
        b"<D>\x01</D>",
        b"<D>\xff</D>",
        b"\xff\xfe<",
        b'<?xml version="1.0" encoding="nonsense"?><D/>',
        b'<?xml version="1.0" encoding="utf-7"?><D/>',
        b'<?xml version="1.0" encoding="shift_jis"?><D/>',
        b'<?xml version="1.0" encoding="hex"?><D/>',
        b"<!DOCTYPE D><D/>",
        b'<!DOCTYPE D [<!ENTITY a "b">]><D>&a;</D>',
        b'<!DOCTYPE D SYSTEM "http://127.0.0.1/x"><D/>',
        b'<!DOCTYPE D [<!ENTITY a SYSTEM "file:///etc/passwd">]><D>&a;</D>',
    ],
)
def test_what_is_not_plain_xml_of_that_name_is_malformed(body: bytes) -> None:
    refused(body)


def test_depth_nodes_and_bytes_are_bounded() -> None:
    deep = XML_DEPTH - 1
    parse_xml(b"<D>" + b"<a>" * deep + b"</a>" * deep + b"</D>", "D")
    refused(b"<D>" + b"<a>" * XML_DEPTH + b"</a>" * XML_DEPTH + b"</D>")
    refused(b"<D>" + b"<a>" * 200_000)
    parse_xml(b"<D>" + b"<a/>" * (XML_NODES - 1) + b"</D>", "D")
    refused(b"<D>" + b"<a/>" * XML_NODES + b"</D>")
    refused(b"<D " + b" ".join(b'a%d=""' % n for n in range(XML_NODES)) + b"/>")
    parse_xml(b"<D>" + b" " * (XML_BYTES - 7) + b"</D>", "D")
    refused(b"<D>" + b" " * (XML_BYTES - 6) + b"</D>")


@given(st.binary(max_size=200))
def test_garbage_is_malformed(body: bytes) -> None:
    try:
        root = parse_xml(body, "D")
    except S3Error as error:
        assert error.code == "MalformedXML"
    else:
        assert root.name == "D"


@given(st.data())
def test_a_damaged_document_is_read_or_malformed(data: st.DataObject) -> None:
    whole = b'<?xml version="1.0"?><D xmlns="urn:x"><O><K>a&amp;b</K></O><!-- c --><Q>true</Q></D>'
    at = data.draw(st.integers(0, len(whole)))
    body = whole[:at] + data.draw(st.binary(max_size=3)) + whole[at + data.draw(st.integers(0, 3)) :]
    try:
        assert parse_xml(body, "D").name == "D"
    except S3Error as error:
        assert error.code == "MalformedXML"


@given(st.recursive(KEYS, lambda inner: st.lists(inner, min_size=1, max_size=3), max_leaves=12))
def test_what_is_written_is_read_back(tree: object) -> None:
    def write(node: object, level: int) -> str:
        if isinstance(node, str) or level >= XML_DEPTH - 1:
            return element("K", clean(str(node)))
        assert isinstance(node, list)
        return "<N>" + "".join(write(child, level + 1) for child in node) + "</N>"

    def expect(node: object, level: int) -> object:
        if isinstance(node, str) or level >= XML_DEPTH - 1:
            return ("K", clean(str(node)), [])
        assert isinstance(node, list)
        return ("N", "", [expect(child, level + 1) for child in node])

    root = parse_xml(document("D", write(tree, 1)), "D")
    assert [shape(child) for child in root.children] == [expect(tree, 1)]


def clean(text: str) -> str:
    """The text without the characters that XML 1.0 has no way to hold."""
    return re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", "", text)


@given(KEYS)
def test_escaped_text_is_what_another_parser_reads(text: str) -> None:
    assert ElementTree.fromstring(document("D", escape(clean(text)))).text == (clean(text) or None)


def test_forbidden_characters_leave_as_references() -> None:
    assert escape("a\x01b\r\n\t<>&\"'\x7f\uffff\ud800é") == (
        "a&#x1;b&#13;&#xa;&#x9;&lt;&gt;&amp;&quot;'&#x7f;&#xffff;\ufffdé"
    )
    assert element("K", 5) == "<K>5</K>"


@given(KEYS)
def test_url_encoded_keys_are_ascii_that_every_decoder_reads(key: str) -> None:
    text = encode_key(key)
    assert re.fullmatch("[A-Za-z0-9%/_.~-]*", text)
    assert unquote(text) == key
    assert encode_key("a b+c%/é") == "a%20b%2Bc%25/%C3%A9"
