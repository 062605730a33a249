"""Tiers of Chinese cities, as marketers there use them.

The grading is no state's: it is the ranking of the commercial attractiveness of 337 cities that the Rising Lab of Yicai
(新一线城市研究所, 第一财经) publishes every year, here that of 2020 (城市商业魅力排行榜, 29 May 2020). Its fourth and fifth
tiers are left out.
"""

import re

TIERS = {
    "first": "北京/Beijing,上海/Shanghai,广州/Guangzhou,深圳/Shenzhen",
    "new_first": (
        "成都/Chengdu,重庆/Chongqing,杭州/Hangzhou,武汉/Wuhan,西安/Xi'an,天津/Tianjin,苏州/Suzhou,南京/Nanjing,"
        "郑州/Zhengzhou,长沙/Changsha,东莞/Dongguan,沈阳/Shenyang,青岛/Qingdao,合肥/Hefei,佛山/Foshan"
    ),
    "second": (
        "宁波/Ningbo,昆明/Kunming,福州/Fuzhou,无锡/Wuxi,厦门/Xiamen,济南/Jinan,大连/Dalian,哈尔滨/Harbin,温州/Wenzhou,"
        "石家庄/Shijiazhuang,泉州/Quanzhou,南宁/Nanning,长春/Changchun,南昌/Nanchang,贵阳/Guiyang,金华/Jinhua,"
        "常州/Changzhou,惠州/Huizhou,嘉兴/Jiaxing,南通/Nantong,徐州/Xuzhou,太原/Taiyuan,珠海/Zhuhai,中山/Zhongshan,"
        "保定/Baoding,兰州/Lanzhou,台州/Taizhou,绍兴/Shaoxing,烟台/Yantai,廊坊/Langfang"
    ),
    "third": (
        "潍坊/Weifang,扬州/Yangzhou,海口/Haikou,汕头/Shantou,洛阳/Luoyang,乌鲁木齐/Urumqi,临沂/Linyi,唐山/Tangshan,"
        "镇江/Zhenjiang,盐城/Yancheng,湖州/Huzhou,赣州/Ganzhou,泰州/,济宁/Jining,呼和浩特/Hohhot,咸阳/Xianyang,"
        "漳州/Zhangzhou,揭阳/Jieyang,江门/Jiangmen,桂林/Guilin,邯郸/Handan,芜湖/Wuhu,三亚/Sanya,阜阳/Fuyang,"
        "淮安/Huai'an,遵义/Zunyi,银川/Yinchuan,衡阳/Hengyang,上饶/Shangrao,柳州/Liuzhou,淄博/Zibo,莆田/Putian,"
        "绵阳/Mianyang,湛江/Zhanjiang,商丘/Shangqiu,宜昌/Yichang,沧州/Cangzhou,连云港/Lianyungang,南阳/Nanyang,"
        "九江/Jiujiang,新乡/Xinxiang,信阳/Xinyang,襄阳/Xiangyang,岳阳/Yueyang,蚌埠/Bengbu,驻马店/Zhumadian,"
        "滁州/Chuzhou,威海/Weihai,宿迁/Suqian,株洲/Zhuzhou,宁德/Ningde,邢台/Xingtai,潮州/Chaozhou,"
        "秦皇岛/Qinhuangdao,肇庆/Zhaoqing,荆州/Jingzhou,周口/Zhoukou,马鞍山/Ma'anshan,清远/Qingyuan,宿州/,"
        "鞍山/Anshan,安庆/Anqing,菏泽/Heze,宜春/,黄冈/Huanggang,泰安/Tai'an,南充/Nanchong,六安/Lu'an,大庆/Daqing,"
        "舟山/Zhoushan"
    ),
}
"""Tier -> cities, each in Chinese and in pinyin; pinyin that could be a larger city is left out."""


def tier_of_city() -> dict[str, str]:
    """Spelling of a city (`spelling`) -> first, new_first, second or third."""
    return {
        spelling(name): tier
        for tier, cities in TIERS.items()
        for city in cities.split(",")
        for name in city.split("/")
        if name
    }


def spelling(city: str) -> str:
    """A city's name without case, apostrophes, blanks and the word for city: Xi'an City, xian and XI AN are one.

    >>> spelling("Xi'an City"), spelling("上海市")
    ('xian', '上海')
    """
    plain = re.sub(r"[\s'’\-]", "", city).lower()
    return re.sub(r"(?<=.)(市|city|shi)$", "", plain)
