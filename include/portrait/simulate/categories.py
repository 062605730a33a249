"""The category tree, the brands and the words of product names. All brands are invented."""

from typing import NamedTuple


class Leaf(NamedTuple):
    """A third-level category in English and Chinese."""

    name: str
    zh: str


class Shelf(NamedTuple):
    """A second-level category with its typical price in yuan."""

    name: str
    price: float
    leaves: tuple[Leaf, ...]


class Department(NamedTuple):
    """A first-level category.

    `demand` is its share of all buying before normalising; `staple` says whether people buy the same
    product here again and again.
    """

    name: str
    demand: float
    staple: bool
    brands: tuple[tuple[str, str], ...]
    shelves: tuple[Shelf, ...]


def _brands(text: str) -> tuple[tuple[str, str], ...]:
    return tuple((en, zh) for en, _, zh in (pair.partition("/") for pair in text.split(",")))


def _shelf(name: str, price: float, leaves: str) -> Shelf:
    pairs = (pair.partition("/") for pair in leaves.split(","))
    return Shelf(name, price, tuple(Leaf(en, zh) for en, _, zh in pairs))


_FOOD = "Goldfield/金田,Lotus Pond/荷塘,Old Harbour/老港,Northridge/北岭,Sunny Acre/阳光亩,Green Kettle/青壶"
_FRESH = "Farm Gate/农门,Blue Net/蓝网,Orchard Nine/九果园,Morning Cart/晨车"
_DAIRY = "Meadowhill/牧丘,White Ox/白牛,Lakeside/湖畔,Creamery 8/八号乳坊"
_SNACKS = "Crispy Cat/脆猫,Nutwood/坚果林,Panda Bite/熊猫咬,Sweetbell/甜铃"
_DRINKS = "Tea Terrace/茶台,Spring No. 5/五号泉,Roastery Row/烘焙街,Fizzbay/汽湾"
_CARE = "Dewleaf/露叶,Clearbrook/清溪,Softstone/柔石,Bamboo & Co/竹语,Mintway/薄荷路"
_WEAR = "Hillwear/山衣,Linen Lane/麻巷,Urbanfox/城狐,Plainthread/素线,Cloudstep/云步"
_TECH = "Nuvora/诺沃,Brightcell/明芯,Tianmu/天幕,Pixelroot/像根,Quietwave/静波"

DEPARTMENTS: tuple[Department, ...] = (
    Department("Grocery", 2.0, True, _brands(_FOOD), (
        _shelf("Rice & Noodles", 26, "Rice/大米,Noodles/面条,Instant Noodles/方便面"),
        _shelf("Cooking Oil & Sauces", 24, "Cooking Oil/食用油,Soy Sauce/酱油,Vinegar/醋"),
        _shelf("Canned & Dry Goods", 15, "Beans/豆类,Canned Fish/鱼罐头,Dried Mushrooms/干香菇"),
        _shelf("Bakery", 14, "Bread/面包,Cakes/蛋糕,Mooncakes/月饼"),
    )),
    Department("Fresh", 1.8, True, _brands(_FRESH), (
        _shelf("Fruit", 18, "Apples/苹果,Oranges/橙子,Berries/浆果"),
        _shelf("Vegetables", 9, "Leaf Vegetables/叶菜,Tomatoes/番茄,Potatoes/土豆"),
        _shelf("Meat & Eggs", 32, "Pork/猪肉,Chicken/鸡肉,Eggs/鸡蛋"),
        _shelf("Seafood", 46, "Fish/鱼,Prawns/虾"),
    )),
    Department("Dairy", 1.4, True, _brands(_DAIRY), (
        _shelf("Milk", 16, "Whole Milk/全脂牛奶,Skimmed Milk/脱脂牛奶,Oat Drink/燕麦奶"),
        _shelf("Yoghurt", 13, "Plain Yoghurt/原味酸奶,Fruit Yoghurt/果味酸奶"),
        _shelf("Cheese & Butter", 28, "Cheese/奶酪,Butter/黄油"),
        _shelf("Ice Cream", 20, "Ice Cream Tubs/桶装冰淇淋,Ice Lollies/冰棒"),
    )),
    Department("Snacks", 1.4, True, _brands(_SNACKS), (
        _shelf("Crisps", 9, "Potato Crisps/薯片,Rice Crackers/米饼,Seaweed/海苔"),
        _shelf("Nuts & Dried Fruit", 29, "Nuts/坚果,Dried Mango/芒果干,Sunflower Seeds/瓜子"),
        _shelf("Chocolate & Sweets", 17, "Chocolate/巧克力,Gummies/软糖"),
        _shelf("Biscuits", 12, "Butter Biscuits/黄油饼干,Wafers/威化"),
    )),
    Department("Beverages", 1.4, True, _brands(_DRINKS), (
        _shelf("Water & Soft Drinks", 8, "Water/饮用水,Cola/可乐,Juice/果汁"),
        _shelf("Tea", 48, "Green Tea/绿茶,Black Tea/红茶,Oolong/乌龙茶"),
        _shelf("Coffee", 52, "Coffee Beans/咖啡豆,Instant Coffee/速溶咖啡"),
        _shelf("Beer & Wine", 65, "Beer/啤酒,Red Wine/红酒"),
    )),
    Department("Personal Care", 1.0, True, _brands(_CARE), (
        _shelf("Hair Care", 42, "Shampoo/洗发水,Conditioner/护发素"),
        _shelf("Skin Care", 96, "Face Cream/面霜,Sunscreen/防晒霜,Face Masks/面膜"),
        _shelf("Oral Care", 19, "Toothpaste/牙膏,Toothbrushes/牙刷"),
        _shelf("Make-up", 88, "Lipstick/口红,Foundation/粉底"),
    )),
    Department("Household", 1.0, True, _brands("Tidyhouse/净屋,Snowcloth/雪布,Pinebright/松亮,Homely/家常"), (
        _shelf("Laundry", 38, "Laundry Liquid/洗衣液,Fabric Softener/柔顺剂"),
        _shelf("Paper Goods", 24, "Toilet Paper/卷纸,Tissues/抽纸"),
        _shelf("Cleaning", 18, "Dish Soap/洗洁精,Floor Cleaner/地板清洁剂"),
        _shelf("Pet Food", 58, "Cat Food/猫粮,Dog Food/狗粮"),
    )),
    Department("Baby", 0.6, True, _brands("Little Moon/小月亮,Duckling/小鸭,Softcub/软崽"), (
        _shelf("Nappies", 95, "Nappies/纸尿裤,Baby Wipes/湿巾"),
        _shelf("Baby Food", 120, "Baby Formula/婴儿奶粉,Fruit Puree/果泥"),
        _shelf("Toys", 69, "Building Blocks/积木,Soft Toys/毛绒玩具"),
        _shelf("Baby Clothing", 79, "Bodysuits/连体衣,Baby Socks/宝宝袜"),
    )),
    Department("Apparel", 0.7, False, _brands(_WEAR), (
        _shelf("Women's Clothing", 169, "Dresses/连衣裙,Blouses/衬衫,Coats/大衣"),
        _shelf("Men's Clothing", 159, "Shirts/男衬衫,Trousers/长裤,Jackets/夹克"),
        _shelf("Shoes", 229, "Trainers/休闲鞋,Leather Shoes/皮鞋"),
        _shelf("Bags & Accessories", 139, "Backpacks/双肩包,Scarves/围巾"),
    )),
    Department("Sports", 0.4, False, _brands("Peakline/峰线,Swiftgo/疾行,Ironpine/铁松"), (
        _shelf("Fitness", 129, "Yoga Mats/瑜伽垫,Dumbbells/哑铃"),
        _shelf("Running", 259, "Running Shoes/跑鞋,Sports Shirts/运动衫"),
        _shelf("Outdoor", 299, "Tents/帐篷,Flasks/保温壶"),
        _shelf("Cycling", 189, "Helmets/头盔,Bicycle Lights/车灯"),
    )),
    Department("Electronics", 0.4, False, _brands(_TECH), (
        _shelf("Phones & Accessories", 399, "Phones/手机,Chargers/充电器,Phone Cases/手机壳"),
        _shelf("Audio", 289, "Headphones/耳机,Speakers/音箱"),
        _shelf("Computing", 499, "Keyboards/键盘,Tablets/平板电脑"),
        _shelf("Small Appliances", 259, "Kettles/电热水壶,Rice Cookers/电饭煲"),
    )),
    Department("Home", 0.5, False, _brands("Oakroom/橡屋,Lanternhouse/灯笼屋,Nestwell/安巢"), (
        _shelf("Kitchenware", 79, "Woks/炒锅,Knives/刀具,Tea Sets/茶具"),
        _shelf("Bedding", 199, "Duvets/被子,Pillows/枕头"),
        _shelf("Lighting", 109, "Desk Lamps/台灯,Ceiling Lights/吸顶灯"),
        _shelf("Storage", 49, "Boxes/收纳箱,Hangers/衣架"),
    )),
)  # fmt: skip

FOOD_WORDS = (
    ("Classic", "经典"), ("Organic", "有机"), ("Family", "家庭装"), ("Select", "精选"),
    ("Light", "轻享"), ("Premium", "优选"), ("Country", "乡村"), ("Fresh", "鲜享"),
)  # fmt: skip
OTHER_WORDS = (
    ("Classic", "经典"), ("Everyday", "日常"), ("Pro", "专业"), ("Comfort", "舒适"),
    ("Slim", "轻薄"), ("Deluxe", "豪华"), ("Pure", "纯净"), ("Nature", "自然"),
)  # fmt: skip
FOOD_SIZES = ("250 g", "500 g", "1 kg", "2-pack", "6-pack", "750 ml")
OTHER_SIZES = ("S", "M", "L", "2-pack", "No. 3", "No. 8")
FOOD_DEPARTMENTS = 5  # the first five sell food
