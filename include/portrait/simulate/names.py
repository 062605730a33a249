"""Names and addresses, and how people write them differently at the till and in the app."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from portrait.simulate.columns import Array
from portrait.simulate.retailer import Retailer
from portrait.simulate.streams import Stream, generator

CARD, ACCOUNT = 0, 1  # who typed: the cashier or the customer

# Family name, pinyin and share in China in percent.
_FAMILIES = (
    "王wang7.1 李li7.0 张zhang6.7 刘liu5.1 陈chen4.6 杨yang3.2 赵zhao2.2 黄huang2.2 周zhou2.0 吴wu2.0 徐xu1.6 孙sun1.5 "
    "胡hu1.3 朱zhu1.2 高gao1.2 林lin1.2 何he1.1 郭guo1.1 马ma1.1 罗luo1.0 梁liang0.9 宋song0.8 郑zheng0.8 谢xie0.8 "
    "韩han0.7 唐tang0.7 冯feng0.7 于yu0.6 董dong0.6 肖xiao0.6 程cheng0.6 曹cao0.6 袁yuan0.5 邓deng0.5 许xu0.5 傅fu0.5 "
    "沈shen0.5 曾zeng0.5 彭peng0.5 吕lv0.5 苏su0.5 卢lu0.5 蒋jiang0.5 蔡cai0.4 贾jia0.4 丁ding0.4 魏wei0.4 薛xue0.4 "
    "叶ye0.4 余yu0.4 潘pan0.4 杜du0.4 戴dai0.4 夏xia0.4 钟zhong0.4 汪wang0.4 田tian0.4 任ren0.4 姜jiang0.4 范fan0.4 "
    "方fang0.4 石shi0.4 姚yao0.4 谭tan0.4 廖liao0.4 邹zou0.3 熊xiong0.3 金jin0.3 陆lu0.3 郝hao0.3 孔kong0.3 白bai0.3 "
    "崔cui0.3 康kang0.3 毛mao0.3 邱qiu0.3 秦qin0.3 江jiang0.3 史shi0.3 顾gu0.3 侯hou0.3 邵shao0.3 孟meng0.3 龙long0.3 "
    "万wan0.3 段duan0.3 钱qian0.3 汤tang0.3 尹yin0.3 黎li0.3 易yi0.2 常chang0.2 武wu0.2 乔qiao0.2 贺he0.2 赖lai0.2 "
    "龚gong0.2 文wen0.2 欧阳ouyang0.1 司马sima0.05 上官shangguan0.05"
)
# Characters of given names with pinyin, commonest first.
_GIVEN = (
    "伟wei 芳fang 娜na 敏min 静jing 丽li 强qiang 磊lei 军jun 洋yang 勇yong 艳yan 杰jie 娟juan 涛tao 明ming 超chao 霞xia 平ping "
    "刚gang 英ying 华hua 文wen 玉yu 红hong 建jian 国guo 晓xiao 小xiao 海hai 志zhi 春chun 雪xue 云yun 梅mei 婷ting 宇yu 浩hao "
    "欣xin 佳jia 嘉jia 子zi 思si 雨yu 晨chen 辰chen 俊jun 峰feng 鹏peng 飞fei 龙long 波bo 斌bin 辉hui 慧hui 玲ling 燕yan 琳lin "
    "林lin 倩qian 颖ying 莹ying 洁jie 鑫xin 馨xin 心xin 怡yi 一yi 诗shi 梦meng 琪qi 瑶yao 萱xuan 轩xuan 泽ze 博bo 昊hao 皓hao "
    "天tian 睿rui 瑞rui 铭ming 民min 维wei 炜wei 威wei 婧jing 靖jing 晶jing 莉li 立li 力li 丹dan 新xin 庆qing 清qing 青qing "
    "东dong 冬dong 亮liang 良liang 凯kai 恺kai 健jian 宁ning 凝ning 安an 康kang 贝bei 蕾lei 雷lei 楠nan 南nan 男nan 翔xiang "
    "祥xiang 远yuan 媛yuan 源yuan 可ke 珂ke 彤tong 桐tong 桂gui 贵gui 秀xiu 兰lan 岚lan 珍zhen 真zhen 振zhen 荣rong 蓉rong "
    "容rong 生sheng 胜sheng 世shi 家jia 兴xing 星xing 学xue 德de 光guang 广guang 金jin 锦jin 月yue 悦yue 越yue 凤feng 锋feng "
    "琴qin 勤qin 淑shu 书shu 舒shu"
)
_ENGLISH = "Kevin Jason Amy Lily Grace Tony David Lucy Emma Jack Vivian Eric Cindy Peter Alice Leo"
_ROADS = (
    "人民路 解放路 中山路 建设路 新华路 和平路 长江路 北京路 南京西路 淮海中路 文化路 胜利路 光明路 友谊路 工业路 青年路 朝阳街 东风街 滨河路 湖滨路 学院路 科技路 高新大道 迎宾大道 金融街 "
    "复兴路 延安路 黄河路 幸福路 体育路 公园路 花园街 府前街 西湖路 天山路 泰山路 虹桥路 徐家汇路 世纪大道 江滨路"
)
_CITY_IN_CHINESE = (
    "上海 广州 北京 深圳 杭州 南京 成都 武汉 西安 天津 重庆 苏州 长沙 沈阳 宁波 佛山 昆明 哈尔滨 郑州 合肥"
)
ONE_CHARACTER = 0.2  # of given names
WITH_ENGLISH = 0.03  # of people: an English given name before the family name in pinyin
SHARED_ADDRESS = 0.25  # of pairs of neighbours in a city
SHARED_FAMILY = 0.6  # of these
_NOTHING = pa.scalar(None, pa.string())


def _split(entries: str) -> tuple[list[str], list[str], list[float]]:
    """Characters, pinyin and share (0 where none is given)."""
    parts = [
        (
            "".join(c for c in e if c > "\x7f"),
            "".join(c for c in e if c.isascii() and c.isalpha()),
            "".join(c for c in e if c in "0123456789."),
        )
        for e in entries.split()
    ]
    return [p[0] for p in parts], [p[1] for p in parts], [float(p[2] or 0) for p in parts]


_FAMILY, _FAMILY_PINYIN, _SHARE = _split(_FAMILIES)
_CHARACTER, _PINYIN, _ = _split(_GIVEN)
FAMILY, FAMILY_PINYIN = pa.array(_FAMILY), pa.array([p.capitalize() for p in _FAMILY_PINYIN])
ENGLISH, ROADS, CITY_IN_CHINESE = (pa.array(s.split()) for s in (_ENGLISH, _ROADS, _CITY_IN_CHINESE))
CHARACTER, CHARACTER_PINYIN = pa.array(_CHARACTER), pa.array(_PINYIN)
# What an input method offers next: another character of the same sound, else any other.
_SLIP = np.array(
    [
        next(
            (j % len(_PINYIN) for j in range(i + 1, i + len(_PINYIN)) if _PINYIN[j % len(_PINYIN)] == sound),
            (i + 7) % len(_PINYIN),
        )
        for i, sound in enumerate(_PINYIN)
    ]
)


@dataclass(frozen=True)
class Names:
    """One value a person; what was typed has a row for the card and one for the account.

    Attributes
    ----------
    family, first, second, english
        Indexes into FAMILY, CHARACTER (second: -1 for names of one) and ENGLISH (-1 for most).
    road, number, building, room, city
        The address; people of one household have the same.
    name_form
        How the name is typed: 0 as it is, 1 given name in pinyin, 2 all in pinyin, 3 the same in the other order,
        4 the characters in the other order, 5 one wrong character; -1 not at all.
    address_form
        0 as it is, 1 without the city, 2 without the room, 3 without the number, -1 not at all.
    """

    family: Array
    first: Array
    second: Array
    english: Array
    road: Array
    number: Array
    building: Array
    room: Array
    city: Array
    name_form: Array
    address_form: Array


def build_names(retailer: Retailer, city: Array) -> Names:
    """Names and addresses of everybody, and how each was typed in each channel."""
    rng, n, dirt = generator(retailer, Stream.NAMES), len(city), retailer.dirt
    share = np.array(_SHARE)
    weight = 1 / (np.arange(len(_CHARACTER)) + 12.0)
    family = rng.choice(len(share), n, p=share / share.sum()).astype(np.int16)
    first, second = (rng.choice(len(weight), (2, n), p=weight / weight.sum())).astype(np.int16)
    second[rng.random(n) < ONE_CHARACTER] = -1
    english = np.where(rng.random(n) < WITH_ENGLISH, rng.integers(0, len(ENGLISH), n), -1).astype(np.int8)
    address: dict[str, Array] = {
        "road": rng.integers(0, len(ROADS), n).astype(np.int8),
        "number": (1 + 900 * rng.beta(1.0, 3.0, n)).astype(np.int16),
        "building": rng.integers(1, 21, n).astype(np.int8),
        "room": (100 * rng.integers(1, 19, n) + rng.integers(1, 5, n)).astype(np.int16),
    }
    neighbours = np.argsort(city, kind="stable")[: n // 2 * 2].reshape(-1, 2)
    home = neighbours[(rng.random(len(neighbours)) < SHARED_ADDRESS)]
    home = home[city[home[:, 0]] == city[home[:, 1]]]
    for values in address.values():
        values[home[:, 1]] = values[home[:, 0]]
    kin = home[rng.random(len(home)) < SHARED_FAMILY]
    family[kin[:, 1]] = family[kin[:, 0]]

    rng = generator(retailer, Stream.TYPED_NAMES)
    shape = (2, n)
    name_form = np.where(rng.random(shape) < dirt.odd_name, rng.integers(1, 6, shape), 0)
    address_form = np.where(rng.random(shape) < dirt.odd_address, rng.integers(1, 4, shape), 0)
    name_form[rng.random(shape) < dirt.missing_name] = -1
    address_form[rng.random(shape) < dirt.missing_address] = -1
    return Names(
        family=family, first=first, second=second, english=english, city=city, **address,
        name_form=name_form.astype(np.int8), address_form=address_form.astype(np.int8),
    )  # fmt: skip


def typed(names: Names, person: Array, channel: int) -> tuple[dict[str, pa.Array], dict[str, int]]:
    """Name and address of these people as typed in a channel (CARD or ACCOUNT), and the dirt in them."""
    name_form, address_form = names.name_form[channel, person], names.address_form[channel, person]
    dirt = {
        "missing_names": name_form < 0, "odd_names": (name_form > 0) & (names.english[person] < 0),
        "missing_addresses": address_form < 0, "odd_addresses": address_form > 0,
    }  # fmt: skip
    columns = {"name": _name(names, person, name_form), "address": _address(names, person, address_form)}
    return columns, {name: int(mask.sum()) for name, mask in dirt.items()}


def _name(names: Names, person: Array, form: Array) -> pa.Array:
    family, sound = _pick(FAMILY, names.family[person]), _pick(FAMILY_PINYIN, names.family[person])
    given, given_sound = _given(names.first[person], names.second[person])
    slipped, _ = _given(_SLIP[names.first[person]], names.second[person])
    forms = [
        _joined(family, given),
        _joined(family, given_sound),
        _joined(sound, given_sound, between=" "),
        _joined(given_sound, sound, between=" "),
        _joined(given, family),
        _joined(family, slipped),
    ]
    name = pc.choose(pa.array(np.maximum(form, 0)), *forms)
    english = names.english[person]
    foreign = _joined(_pick(ENGLISH, np.maximum(english, 0)), sound, between=" ")
    name = pc.if_else(pa.array(english >= 0), foreign, name)
    return pc.if_else(pa.array(form < 0), _NOTHING, name)


def _given(first: Array, second: Array) -> tuple[pa.Array, pa.Array]:
    """Given names in characters and in pinyin (Xiaoming)."""
    one = pa.array(second < 0)
    rest = np.maximum(second, 0)
    characters = _joined(_pick(CHARACTER, first), pc.if_else(one, "", _pick(CHARACTER, rest)))
    sounds = _joined(_pick(CHARACTER_PINYIN, first), pc.if_else(one, "", _pick(CHARACTER_PINYIN, rest)))
    return characters, pc.utf8_capitalize(sounds)


def _address(names: Names, person: Array, form: Array) -> pa.Array:
    city = _joined(_pick(CITY_IN_CHINESE, names.city[person]), "市")
    street = _joined(_pick(ROADS, names.road[person]), _text(names.number[person]), "号")
    room = _joined(_text(names.building[person]), "幢", _text(names.room[person]), "室")
    forms = [
        _joined(city, street, room),
        _joined(street, room),
        _joined(city, street),
        _joined(city, _pick(ROADS, names.road[person]), room),
    ]
    return pc.if_else(pa.array(form < 0), _NOTHING, pc.choose(pa.array(np.maximum(form, 0)), *forms))


def _pick(values: pa.Array, index: Array) -> pa.Array:
    return values.take(pa.array(index.astype(np.int64)))


def _text(number: Array) -> pa.Array:
    return pa.array(number.astype(np.int64)).cast(pa.string())


def _joined(*parts: pa.Array | str, between: str = "") -> pa.Array:
    return pc.binary_join_element_wise(*parts, between)
