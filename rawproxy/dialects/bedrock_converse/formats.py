"""Media types, and the short words that Converse has for them.

Layer: dialects. The part of `bedrock_converse` for the `format` of images, documents and videos.
Source: the enums of botocore's model of `bedrock-runtime`, 1.44.5.
"""

from typing import Literal

__all__ = ["AUDIO", "KNOWN", "Family", "format_of", "mime_of"]

Family = Literal["image", "document", "video"]

_OFFICE = "application/vnd.openxmlformats-officedocument"

_MIMES: dict[Family, dict[str, str]] = {
    "image": {
        "png": "image/png",
        "jpeg": "image/jpeg",
        "gif": "image/gif",
        "webp": "image/webp",
    },
    "document": {
        "pdf": "application/pdf",
        "csv": "text/csv",
        "doc": "application/msword",
        "docx": f"{_OFFICE}.wordprocessingml.document",
        "xls": "application/vnd.ms-excel",
        "xlsx": f"{_OFFICE}.spreadsheetml.sheet",
        "html": "text/html",
        "txt": "text/plain",
        "md": "text/markdown",
    },
    "video": {
        "mkv": "video/x-matroska",
        "mov": "video/quicktime",
        "mp4": "video/mp4",
        "webm": "video/webm",
        "flv": "video/x-flv",
        "mpeg": "video/mpeg",
        "mpg": "video/mpg",
        "wmv": "video/x-ms-wmv",
        "three_gp": "video/3gpp",
    },
}
_FORMATS = {
    family: {mime: word for word, mime in words.items()} for family, words in _MIMES.items()
}
_FORMATS["image"]["image/jpg"] = "jpeg"
_FORMATS["document"]["text/x-markdown"] = "md"

KNOWN: dict[Family, frozenset[str]] = {family: frozenset(words) for family, words in _MIMES.items()}
"""The formats that the API takes."""

AUDIO = frozenset({
    "mp3", "opus", "wav", "aac", "flac", "mp4", "ogg", "mkv", "mka", "x-aac", "m4a", "mpeg", "mpga",
    "pcm", "webm",
})  # fmt: skip
"""The formats of sound that the API takes."""


def mime_of(family: Family, word: str | None) -> str | None:
    """Return the media type of a format; a new word gives a type from which it comes back."""
    return None if word is None else _MIMES[family].get(word, f"{family}/{word}")


def format_of(family: Family, mime: str | None) -> str | None:
    """Return the format of a media type; one that is not known gives its second half."""
    return None if mime is None else _FORMATS[family].get(mime, mime.partition("/")[2])
