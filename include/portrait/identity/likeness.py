"""What members typed, in the forms in which it is compared: names in pinyin, addresses by street and numbers."""

import re
import unicodedata
from datetime import date

_HAN = re.compile(r"[\u3400-\u9fff]+")
_PART = re.compile(r"[\u3400-\u9fff]+|[^\W\d_]+")
_COMPOUND = re.compile(
    "欧阳|司马|上官|诸葛|东方|皇甫|尉迟|公孙|慕容|司徒|令狐|夏侯|南宫|长孙|宇文|端木|百里|西门"
)
_UMLAUT = re.compile("(?<=[ln])ü")  # Lü: lazy_pinyin writes lv
_NUMBER = re.compile(r"\d+")
_CITY = re.compile(r"^(?:中国)?(?:[\u3400-\u9fff]{2,8}?(?:省|自治区))?[\u3400-\u9fff]{2,8}?市")
_UNIT = re.compile(r"(?:号楼|单元|[号幢栋座楼层弄室房])(?=\d|$)")
_NOT_WORD = re.compile(r"[\W_]+")
YOUNGEST, OLDEST = 6, 105
"""Ages in years outside which a birth date is not believed."""


def plain(text: str | None) -> str | None:
    """Lower case, full width made plain, without blanks and punctuation; None when nothing is left."""
    return _NOT_WORD.sub("", unicodedata.normalize("NFKC", text or "").lower()) or None


def name_parts(text: str) -> list[str]:
    """The parts of a name in Latin letters, in the order typed: 王小明, 王Xiaoming and Wang Xiaoming give the same.

    >>> name_parts("王小明")
    ['wang', 'xiaoming']
    """
    from pypinyin import lazy_pinyin

    parts: list[str] = []
    for part in _PART.findall(unicodedata.normalize("NFKC", text).lower()):
        if not _HAN.fullmatch(part):
            letters = unicodedata.normalize("NFD", _UMLAUT.sub("v", part))
            parts.append("".join(c for c in letters if not unicodedata.combining(c)))
            continue
        family = 2 if _COMPOUND.match(part) and len(part) > 2 else 1
        pieces = (part[:family], part[family:]) if not parts else (part,)
        parts += ["".join(lazy_pinyin(piece)) for piece in pieces if piece]
    return parts


def name_forms(text: str | None) -> dict[str, str | None]:
    """A name as it is compared.

    Returns
    -------
    name : as typed, plain.
    pinyin : its parts in Latin letters, as one word.
    name_key : the letters of `pinyin` in alphabetical order, so that neither order nor spacing counts.
    part_a, part_b : the first and the last part in alphabetical order, family name and given name in whatever order.
    """
    name = plain(text)
    parts = name_parts(text) if text and name else []
    if not parts:
        return dict.fromkeys(("name", "pinyin", "name_key", "part_a", "part_b"))
    pinyin = "".join(parts)
    ordered = sorted(parts)
    return {
        "name": name,
        "pinyin": pinyin,
        "name_key": "".join(sorted(pinyin)),
        "part_a": ordered[0],
        "part_b": ordered[-1],
    }


def address_forms(text: str | None) -> tuple[str | None, str | None, list[str]]:
    """An address as it is compared: plain, its street without city and units, its numbers.

    >>> address_forms("上海市人民路128号5幢101室")[1:]
    ('人民路', ['128', '5', '101'])
    """
    address = plain(text)
    if address is None:
        return None, None, []
    local = _CITY.sub("", address) or address
    return local, _NUMBER.sub("", _UNIT.sub("", local)) or None, _NUMBER.findall(local)


def believable(birth_date: date | None, as_of: date) -> str | None:
    """A birth date as text, None for one that nobody living and shopping has."""
    if birth_date is None or not YOUNGEST <= (as_of - birth_date).days / 365.25 <= OLDEST:
        return None
    return birth_date.isoformat()
