// The page's words. Data (segment names, reasons) comes as the night wrote it.
export const WORDS = {
  en: {
    skip: "Skip to the content", pages: "Pages", overview: "Overview", segments: "Segments", customer: "Customer", models: "Models",
    leave: "Forget key", theme_dark: "Dark", theme_light: "Light", other_language: "中文",
    door_title: "API key", door_text: "This page shows what your key may see. It stays in this browser tab and is forgotten when the tab closes.",
    key: "Key", enter: "Enter", wrong_key: "This key is not valid.", no_scope: "Your key may not see this part.",
    failed: "This could not be loaded: ", loading: "Loading…", nothing: "Nothing yet.",
    published_night: "Published night", as_of: "as of", published: "published", customers: "Customers", known: "Known", buyers: "Buyers",
    active_30d: "Seen in 30 days", night_took: "Night took", nights: "Nights", status: "Status", date: "Date", run: "Run",
    lifecycle: "Lifecycle", value_types: "Value types", channels: "Channels", model_quality: "Champion and baselines: NDCG on the holdout",
    slot_new: "New items", slot_next: "Next purchase", customers_by_night: "Customers, night by night",
    drift: "Drift since the night before", drift_none: "The first night: nothing to compare with.",
    drift_text: "Columns: population stability index, from 0.25 on a major shift. embedding: 1 - cosine of a customer's two vectors.",
    quality: "Data quality", check: "Check", table: "Table", found: "Found", expected: "Expected", passed: "passed", broken: "failed",
    freshness: "Freshness of the sources", source: "Source", loaded_through: "Loaded through", rows: "Rows", refused: "Refused",
    alerts: "To look at", when: "When", what: "What", stages: "Where the night's time went", seconds: "seconds",
    segment_map: "Segment map", segment_map_text: "Each point is a customer; near points are alike. Up to 2,000 customers.",
    average_spent: "Spent, average", average_basket: "Basket, average", days_since: "Days since purchase", store_share: "Store share",
    top_category: "Top category", top_brand: "Top brand",
    audiences: "Audiences", audience: "Audience", audience_sizes: "Members, night by night", overlaps: "Whom two audiences share", members: "Members",
    control: "Control group", without_consent: "Without consent", entered: "Entered", left: "Left", purpose: "Purpose", jaccard: "Jaccard",
    p_alive: "Still a customer (probability)", clv_12m: "Expected in 12 months", aipl_stage: "AIPL stage",
    promotion_sensitivity: "Promotion sensitivity", favourite_daypart: "Time of day", return_rate: "Return rate",
    find: "Find a customer", find_text: "Customer id, card number or account; card:, account:, phone: or email: in front says which.",
    search: "Search", nobody: "Nobody in the published night has this id.", ambiguous: "This id is several customers'. Say which: card:…, account:… or customer:…",
    who: "Who", value: "Value", tags: "Tags", preferences: "Preferences", timeline: "Timeline", recommendations: "Recommendations",
    similar: "Similar customers", identity: "Identity evidence", tag: "Tag", reason: "Reason", kind: "Kind", item: "Item", score: "Score", model: "Model",
    because: "Because", because_again: "bought before", because_item: "bought", because_category: "interested in", because_popular: "popular", because_no_consent: "popular (no consent to personal ones)",
    new: "New", again: "Again", similarity: "Similarity", link: "Link", shown_by: "Shown by", since: "Since", more: "More",
    evaluation: "Last evaluation", role: "Role", metric: "Metric", slot: "Slot", history: "Promotion history", version: "Version",
    replaces: "Replaces", trained_through: "Trained through", as_table: "As a table",
    customer_id: "Customer", gender: "Gender", age: "Age", region: "Region", city: "City", member_level: "Member level", home_store: "Home store",
    joined_on: "Joined", first_seen_on: "First seen", last_seen_on: "Last seen", cards: "Cards", accounts: "Accounts", devices: "Devices",
    monetary: "Spent", frequency: "Purchases", recency_days: "Days since last", value_type: "Value type", spending_tier: "Spending tier",
    segment_name: "Segment", refunded: "Refunded", rfm: "R F M", channel: "Channel", category: "Category", brand: "Brand", store: "store", online: "online",
  },
  zh: {
    skip: "跳到正文", pages: "页面", overview: "概览", segments: "人群", customer: "顾客", models: "模型",
    leave: "忘记密钥", theme_dark: "深色", theme_light: "浅色", other_language: "English",
    door_title: "API 密钥", door_text: "页面显示的内容取决于密钥的权限。密钥只留在这个标签页里，关闭后即忘记。",
    key: "密钥", enter: "进入", wrong_key: "密钥无效。", no_scope: "您的密钥无权查看这一部分。",
    failed: "无法载入：", loading: "载入中…", nothing: "暂无内容。",
    published_night: "已发布的批次", as_of: "业务日期", published: "发布于", customers: "顾客", known: "已识别", buyers: "购买者",
    active_30d: "30 天内出现", night_took: "批次用时", nights: "各夜批次", status: "状态", date: "日期", run: "批次",
    lifecycle: "生命周期", value_types: "价值类型", channels: "渠道", model_quality: "冠军模型与基线：留出集 NDCG",
    slot_new: "新商品", slot_next: "下一次购买", customers_by_night: "每夜顾客数",
    drift: "与前一晚相比的漂移", drift_none: "第一晚：没有可比较的。",
    drift_text: "各列：群体稳定性指数，0.25 起为重大变化。embedding：同一顾客两晚向量的 1 - 余弦。",
    quality: "数据质量", check: "检查", table: "表", found: "结果", expected: "期望", passed: "通过", broken: "未通过",
    freshness: "数据源新鲜度", source: "数据源", loaded_through: "已载入至", rows: "行数", refused: "拒收",
    alerts: "需要关注", when: "时间", what: "内容", stages: "批次各阶段用时", seconds: "秒",
    segment_map: "人群地图", segment_map_text: "每个点是一位顾客，相近的点相似。最多 2,000 位。",
    average_spent: "平均消费", average_basket: "平均客单价", days_since: "距上次购买（天）", store_share: "门店占比",
    top_category: "首选品类", top_brand: "首选品牌",
    audiences: "受众", audience: "受众", audience_sizes: "每夜成员数", overlaps: "受众重叠", members: "成员",
    control: "对照组", without_consent: "未同意", entered: "新进入", left: "离开", purpose: "用途", jaccard: "Jaccard 系数",
    p_alive: "仍为顾客的概率", clv_12m: "未来 12 个月预期", aipl_stage: "AIPL 阶段",
    promotion_sensitivity: "促销敏感度", favourite_daypart: "活跃时段", return_rate: "退货率",
    find: "查找顾客", find_text: "顾客编号、会员卡号或账号；可在前面写 card:、account:、phone: 或 email: 指明类型。",
    search: "查找", nobody: "已发布的批次中没有这个编号。", ambiguous: "这个编号对应多位顾客，请写明：card:…、account:… 或 customer:…",
    who: "基本信息", value: "价值", tags: "标签", preferences: "偏好", timeline: "时间线", recommendations: "推荐",
    similar: "相似顾客", identity: "身份依据", tag: "标签", reason: "依据", kind: "类别", item: "商品", score: "得分", model: "模型",
    because: "推荐理由", because_again: "曾经购买", because_item: "购买过", because_category: "关注过", because_popular: "热门商品", because_no_consent: "热门商品（未同意个性化推荐）",
    new: "新品", again: "复购", similarity: "相似度", link: "关联", shown_by: "来源", since: "自", more: "更多",
    evaluation: "最近一次评估", role: "角色", metric: "指标", slot: "任务", history: "晋升记录", version: "版本",
    replaces: "替换", trained_through: "训练至", as_table: "表格形式",
    customer_id: "顾客编号", gender: "性别", age: "年龄", region: "地区", city: "城市", member_level: "会员等级", home_store: "常去门店",
    joined_on: "加入日期", first_seen_on: "首次出现", last_seen_on: "最近出现", cards: "会员卡", accounts: "账号", devices: "设备",
    monetary: "累计消费", frequency: "购买次数", recency_days: "距上次购买（天）", value_type: "价值类型", spending_tier: "消费档次",
    segment_name: "人群", refunded: "退款", rfm: "R F M", channel: "渠道", category: "品类", brand: "品牌", store: "门店", online: "线上",
  },
};

// Codes of the tables, where a reader wants a word.
const CODES_ZH = {
  prospect: "潜在", new: "新客", active: "活跃", returned: "回流", at_risk: "流失预警", dormant: "沉睡", lost: "流失", published: "已发布", running: "进行中", failed: "失败",
  both: "双渠道", store: "门店", online: "线上", none: "无", champion: "冠军", candidate: "候选", retired: "退役", low: "低", mid: "中", high: "高", m: "男", f: "女",
  important_value: "重要价值", important_to_develop: "重要发展", important_to_keep: "重要保持", important_to_retain: "重要挽留",
  general_value: "一般价值", general_to_develop: "一般发展", general_to_keep: "一般保持", general_to_retain: "一般挽留",
  champions: "重要价值", important_to_win_back: "重要挽留", general_to_win_back: "一般挽留",
  aware: "认知", interested: "兴趣", purchased: "购买", loyal: "忠诚", night: "夜间", morning: "上午", afternoon: "下午", evening: "晚间",
  card: "会员卡", account: "账号", phone: "手机", email: "邮箱", device: "设备", payment: "支付", true: "是", false: "否", unknown: "未知",
  pos_sale: "门店购买", pos_return: "门店退货", product_viewed: "浏览商品", products_searched: "搜索", product_added: "加入购物车", product_favorited: "收藏",
  product_shared: "分享", product_reviewed: "评价", order_completed: "下单", order_refunded: "退款",
};

export let language = localStorage.getItem("portrait.language") || (navigator.language.startsWith("zh") ? "zh" : "en");

export function word(key) {
  return WORDS[language][key] ?? key;
}

export function code(value) {
  if (value === null || value === undefined) return "–";
  const text = String(value);
  return language === "zh" ? CODES_ZH[text] ?? text : text.replaceAll("_", " ");
}

export function number(value, digits = 0) {
  if (value === null || value === undefined) return "–";
  return new Intl.NumberFormat(language, { maximumFractionDigits: digits }).format(value);
}

export function moment(value) {
  if (!value) return "–";
  return new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" }).format(new Date(value));
}

export function turnLanguage() {
  language = language === "zh" ? "en" : "zh";
  localStorage.setItem("portrait.language", language);
}

export function fill(root) {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  for (const node of root.querySelectorAll("[data-i18n]")) node.textContent = word(node.dataset.i18n);
  for (const node of root.querySelectorAll("[data-i18n-label]")) node.setAttribute("aria-label", word(node.dataset.i18nLabel));
}
