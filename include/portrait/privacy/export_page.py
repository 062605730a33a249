"""The page of an export, in plain English and Chinese; one file without anything from elsewhere."""

from datetime import datetime
from html import escape

from portrait.privacy.held import Rows

WORDS: dict[str, tuple[str, str]] = {
    "pii.contact": ("Your card, phone number and e-mail address", "您的会员卡号、手机号和邮箱"),
    "pii.member_detail": ("Your name and address", "您的姓名和地址"),
    "raw.member": ("What you declared as a member", "您作为会员填写的信息"),
    "raw.online_event": ("What you did in our online shop and app", "您在网店和应用中的浏览、加购与下单记录"),
    "raw.pos_receipt": ("Your receipts in our stores", "您在门店的购物小票"),
    "raw.pos_receipt_line": ("What was on these receipts", "小票上的商品明细"),
    "raw.consent_event": ("What you allowed and withdrew, and when", "您同意与撤回同意的全部记录"),
    "privacy.consent": ("What you allow today; what is not listed is not allowed", "您目前的同意状态；未列出的用途即为未同意"),
    "identity.customer_identifier": ("Cards, accounts and devices that we take for yours", "我们认为属于您的卡号、账号和设备"),
    "identity.edge": ("Why we think that they belong together", "我们将其归为同一人的依据"),
    "identity.id_change": ("Our number for you, and how it changed", "您的客户编号及其变更"),
    "profile.customer_profile": ("The profile we work out about you", "我们为您计算的客户画像"),
    "profile.rfm": ("How recently, how often and for how much you buy", "您最近购买的时间、频次和金额"),
    "profile.affinity": ("Categories and brands you seem to like", "您可能偏好的品类和品牌"),
    "profile.segment": ("The group of similar customers you are in", "您所属的相似客户群体"),
    "profile.embedding": ("Numbers by which a model compares you with others", "模型用于比较客户相似度的数值"),
    "profile.recommendation": ("Products we would recommend to you", "我们会向您推荐的商品"),
    "profile.customer_value": ("What we expect you to spend", "我们对您未来消费的预估"),
    "profile.repurchase": ("When you may need something again", "您可能再次购买的时间"),
    "profile.search_interest": ("What you search for", "您的搜索兴趣"),
    "profile.customer_tag": ("Labels of your profile, and the reason for each", "您的画像标签及其理由"),
    "audience.membership": ("Groups you were chosen for, and when", "您曾被选入的人群及时间"),
    "audience.exported": ("Where your customer number was sent, and for what", "您的客户编号曾被发送到哪里、用于什么"),
    "audience.delivery": ("The last time for each group", "每个人群最近一次发送"),
    "privacy.access_log": ("Who opened your contact data, and why", "谁查看过您的联系方式及原因"),
}  # fmt: skip
"""Table -> what it is about, in English and Chinese."""

_EARLIER = (" (on earlier nights)", "（此前各日）")


def words_of(table: str) -> tuple[str, str]:
    """What a table is about, in English and Chinese; KeyError for one that nobody has given words."""
    if table.startswith("profile_store."):
        english, chinese = WORDS[table.replace("profile_store.", "profile.")]
        return english + _EARLIER[0], chinese + _EARLIER[1]
    return WORDS[table]


_ENGLISH = """
<h1>What we hold on you</h1>
<p>You asked for a copy of your data. This is all of it, as it was on {made}. Our number for you is {ids}.</p>
<p>The folder <em>csv</em> opens in a spreadsheet. The folder <em>json</em> holds the same for other programs. Phone
numbers, e-mail addresses and cards are kept as a code that cannot be read; where we still hold them in clear, they are
below.</p>
"""
_CHINESE = """
<h1>我们持有的关于您的信息</h1>
<p>您要求获得个人信息的副本。以下是截至 {made} 的全部内容。您的客户编号为 {ids}。</p>
<p><em>csv</em> 文件夹可用电子表格打开，<em>json</em> 文件夹内容相同，供其他程序使用。手机号、邮箱和卡号以无法还原的编码保存；
如我们仍保存明文，则列于下方。</p>
"""
_RIGHTS = (
    "You may have wrong data corrected, withdraw what you allowed, object to our drawing conclusions about you, and have "
    "everything erased. Tell our customer service; you need give no reason. Refused rows of deliveries, and notes that "
    "are about other customers as well, are not in this copy.",
    "您可以要求更正错误信息、撤回同意、拒绝我们对您进行推断，也可以要求删除全部信息。请联系客服，无需说明理由。"
    "未被接收的数据行，以及同时涉及其他客户的记录，不在此副本中。",
)
_STYLE = (
    "body{font:16px/1.6 system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid #ccc;padding:.3rem;text-align:left}"
    "section{margin-bottom:4rem}"
)


def page(found: dict[str, Rows], ids: list[str], made_at: datetime) -> str:
    """HTML of `index.html`.

    Parameters
    ----------
    found : table -> rows; those without any are named as empty.
    made_at : UTC.
    """
    said = {"made": f"{made_at:%Y-%m-%d %H:%M} UTC", "ids": escape(", ".join(ids) or "-")}
    contact = _contact(found)
    parts = []
    for place, (language, opening, heads) in enumerate(
        (
            ("en", _ENGLISH, ("What", "Rows", "File", "Nothing is held")),
            ("zh-CN", _CHINESE, ("内容", "行数", "文件", "没有记录")),
        )
    ):
        rows = "\n".join(_line(table, held, place, heads[3]) for table, held in found.items())
        parts.append(
            f'<section lang="{language}">{opening.format(**said)}{contact}'
            f"<table><tr><th>{heads[0]}</th><th>{heads[1]}</th><th>{heads[2]}</th></tr>\n{rows}\n</table>"
            f"<p>{_RIGHTS[place]}</p></section>"
        )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>What we hold on you · 我们持有的信息</title><style>{_STYLE}</style></head><body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _contact(found: dict[str, Rows]) -> str:
    values = [str(row["value"]) for row in found.get("pii.contact", [])]
    for row in found.get("pii.member_detail", []):
        values += [str(v) for k, v in row.items() if v and k not in ("source", "source_row_id")]
    return (
        "<ul>" + "".join(f"<li>{escape(v)}</li>" for v in dict.fromkeys(values)) + "</ul>" if values else ""
    )


def _line(table: str, rows: Rows, language: int, nothing: str) -> str:
    what = escape(words_of(table)[language])
    if not rows:
        return f"<tr><td>{what}</td><td>0</td><td>{nothing}</td></tr>"
    return f'<tr><td>{what}</td><td>{len(rows)}</td><td><a href="csv/{table}.csv">{table}</a></td></tr>'
