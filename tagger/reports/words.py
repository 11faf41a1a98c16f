"""What the pages say in Chinese beside the English words."""

CHINESE = {
    # Headings of pages and their sections.
    "Corpus": "语料", "Bundle": "模型", "Evaluation": "评测报告", "Overview": "概览", "Labels": "标签",
    "Entity lengths": "实体长度", "Text lengths": "文本长度", "Findings": "值得检查之处",
    "Texts shared by two files": "两份文件共有的文本",
    "Entities unseen in the first file": "第一份文件中未出现的实体",
    "Mentions with several labels": "标签不一致的字符串",
    "Mentions that are not marked everywhere": "有时未标注的字符串",
    "Texts annotated in several ways": "标注不一致的重复文本",
    "Settings that differ from the preset": "与预设不同的设置", "Training corpus": "训练语料", "Curves": "训练曲线",
    "Scores on dev": "开发集得分", "Epochs": "训练轮次", "Vectors": "词向量", "Files": "文件", "Scores": "得分",
    "Scores by entity length": "按实体长度的得分", "Seen and unseen mentions": "训练中见过与未见过的实体",
    "Errors": "错误", "Confusion matrix": "混淆矩阵", "Reliability": "概率可靠性",
    "Most confident mistakes": "置信度最高的错误",
    # Headings of columns.
    "label": "标签", "precision": "精确率", "recall": "召回率", "gold": "标准", "predicted": "预测",
    "correct, %": "正确率", "probability": "概率", "length": "长度", "mention": "字符串", "kind": "类型",
    "count": "数量", "marked": "已标注", "unmarked": "未标注", "setting": "设置", "here": "此处", "file": "文件",
    "what": "项目", "texts": "文本", "characters": "字符", "units": "切分单元", "entities": "实体", "vectors": "词向量",
    "epoch": "轮次", "loss": "损失", "seconds": "秒", "masked accuracy": "掩码预测准确率", "size": "大小",
    "bytes": "字节", "distinct mentions": "不同的字符串",
    "length: median, 90 %, longest": "长度：中位数、90 %、最长",
    "share, %": "占比", "first": "第一份", "second": "第二份",
    "example": "示例", "place": "位置",
    # Rows: of a corpus, of an evaluation.
    "length of entities: median, 90 %, longest": "实体长度：中位数、90 %、最长",
    "length of texts: median, 90 %, longest": "文本长度：中位数、90 %、最长",
    "texts in traditional characters": "繁体文本", "entities that units cut": "被切分单元切断的实体",
    "entities longer than a window": "超出窗口长度的实体", "answers not in their text": "原文中找不到的答案",
    "texts without an entity": "没有实体的文本", "blank texts": "空白文本",
    "texts longer than a window": "超出窗口长度的文本", "texts that repeat an earlier one": "与前文重复的文本",
    "entities with white space at an end": "首尾有空白的实体", "texts with full-width spaces": "含全角空格的文本",
    "texts with zero-width characters": "含零宽字符的文本", "texts with control characters": "含控制字符的文本",
    "texts with characters lost in decoding": "含乱码字符的文本",
    "texts in simplified and traditional characters": "繁简混用的文本",
    "type": "标签错误", "boundary": "边界错误", "both": "标签和边界均错误", "missed": "漏标", "spurious": "多标",
    "seen": "见过", "unseen": "未见过", "none": "无", "all": "全部",
}  # fmt: skip


def bilingual(english: str) -> str:
    """Return a heading in both languages, or in English alone if it has no Chinese."""
    chinese = CHINESE.get(english)
    return f"{english} {chinese}" if chinese else english
