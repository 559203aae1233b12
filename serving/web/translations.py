"""The texts of the page, in English and Chinese."""

from __future__ import annotations

import html
from typing import Any

import gradio as gr
from starlette.requests import Request

from twinset.pipelines import request as order
from twinset.pipelines.options import option_of

WORDS: dict[str, tuple[str, str]] = {
    "title": ("Twinset — your face and your outfit in one pass", "Twinset — 一次生成你的脸和穿搭"),
    "draw_tab": ("Draw", "生成"),
    "batch_tab": ("Batch", "批量"),
    "history_tab": ("History", "历史"),
    "mirror_tab": ("Live mirror", "试衣镜"),
    "prompt": ("What should the picture show? English or Chinese", "想看到什么？中文或英文"),
    "prompt_hint": ("short hair, smiling, on the beach", "短发，微笑，在海边"),
    "selfie": ("Selfie: a file or the camera", "自拍：文件或摄像头"),
    "garments": ("Garments: up to four pictures", "服装：最多四张图片"),
    "kinds": ("Their kinds, in this order, if not recognised", "服装种类（按顺序，识别不准时填写）"),
    "kinds_hint": ("dress, hat", "dress, hat"),
    "poses": ("Poses", "姿势"),
    "pose": ("Pose: choose a picture, or none", "姿势：点选图片，可不选"),
    "own_pose": ("Or a picture whose pose to use", "或上传一张图片，取其姿势"),
    "mirrored": ("Mirrored", "左右镜像"),
    "photo": ("Photo to change, instead of a new scene", "要修改的照片（不生成新场景）"),
    "whose": ("Whose face is it?", "这是谁的脸？"),
    "until": ("Consent is valid until", "同意有效期至"),
    "agreed": (
        "This person agrees to the use of their face for these pictures",
        "本人同意将其面部用于生成这些图片",
    ),
    "draw": ("Draw", "生成"),
    "cancel": ("Cancel", "取消"),
    "delete": ("Delete permanently", "彻底删除"),
    "show": ("Show", "显示"),
    "refresh": ("Refresh", "刷新"),
    "pictures": ("Pictures", "图片"),
    "files": ("Download: files with their labels", "下载：带标识的原始文件"),
    "more": ("More settings", "更多设置"),
    "consent_part": ("Consent", "同意"),
    "sentences": ("Sentences, one per line", "句子，每行一句"),
    "batch_garments": ("Garments: every garment is drawn with every sentence", "服装：每件与每句各生成一张"),
    "count": ("Count and time", "数量与时间"),
    "draw_all": ("Draw all", "全部生成"),
    "camera": ("Camera", "摄像头"),
    "seen_in_mirror": ("In the mirror", "镜中"),
    "mirror_garment": ("Garment to wear", "要试穿的服装"),
    "mirror_steps": ("Steps per picture: fewer are faster, more are finer", "每张步数：少则快，多则细"),
    "jobs": ("Your pictures", "你的图片"),
    # progress and results
    "sending": ("sending the pictures …", "正在上传图片……"),
    "queued": ("waiting for its turn …", "排队中……"),
    "running": (
        "drawing picture {picture} of {pictures}, step {step}", "正在生成第 {picture}/{pictures} 张，第 {step} 步"
    ),
    "left": ("about {seconds} s left", "约剩 {seconds} 秒"),
    "done": ("pictures: {count}, in {seconds} s", "完成：{count} 张，用时 {seconds} 秒"),
    "cancelled": ("cancelled", "已取消"),
    "deleted": ("deleted: the pictures, your uploads and their analysis", "已删除：图片、上传的文件及其分析结果"),
    "failed": ("That did not work", "未能完成"),
    "nothing": ("Nothing here yet.", "这里还没有图片。"),
    "all_good": ("measured: no faults", "检测：没有问题"),
    "still": ("still wrong: {what}", "仍有问题：{what}"),
    "repaired": ("corrected: {what}", "一致性控制：{what}"),
    "labels_told": (
        "Each file carries a visible label, a pixel mark, XMP and a signature: check it with `twinset verify`.",
        "每个文件都带有可见标识、隐形水印、XMP 元数据和签名，可用 `twinset verify` 检验。",
    ),
    "batch_count": (
        "{looks} looks × {sentences} sentences = {count} pictures, about {minutes} min",
        "{looks} 套 × {sentences} 句 = {count} 张，约 {minutes} 分钟",
    ),
    "batch_told": ("{done} of {count} done, {failed} failed, about {seconds} s left",
                   "已完成 {done}/{count}，失败 {failed}，约剩 {seconds} 秒"),
    "mirror_told": ("{rate} pictures/s, {seconds} s from camera to mirror", "每秒 {rate} 张，延迟 {seconds} 秒"),
    "mirror_help": (
        "Add a garment and give your consent, then start the camera: you see yourself wearing it, "
        "as fast as this machine allows. "
        "Nothing is stored: each frame is deleted once its picture is shown.",
        "上传服装并勾选同意，然后打开摄像头：画面以本机最快速度更新。不保存任何画面：显示后即删除。",
    ),
    "consent_missing": (
        "a face needs the person's consent; enter whose it is and tick the box under “Consent”",
        "使用人脸需要本人同意；请在“同意”一栏填写姓名并勾选",
    ),
    "prompt_missing": ("the prompt is empty; say what the picture should show", "没有文字；请写下想看到的画面"),
    "garment_missing": ("there is no garment; add a picture of one", "没有服装；请上传一张服装图片"),
    "own_choice": ("default", "自动"),
    "bad_number": ("{knob}: {value!r} is not a number; correct it, or leave it empty",
                   "{knob}：{value!r} 不是数字；请修改或留空"),
    "too_many": ("that is more than {most} pictures; leave some out, or use `twinset batch`",
                 "超过 {most} 张；请减少数量，或使用 `twinset batch`"),
    "not_uploaded": (
        "{file} is not among the pictures that you added to this page, or has expired. Add it again.",
        "{file} 不在您添加到本页面的图片中：可能已过期。请重新添加。",
    ),
    "unforeseen": (
        "the service failed; try again, and tell whoever runs it", "服务出错；请重试，并告知服务管理员"
    ),
    # statuses
    "401": ("your key is no longer valid; sign in again", "密钥已失效；请重新登录"),
    "413": ("the picture is too large; make it smaller", "图片过大；请缩小后再试"),
    "415": (
        "this is not a picture; use JPEG, PNG, WebP, HEIC or GIF",
        "不是可识别的图片；请使用 JPEG、PNG、WebP、HEIC 或 GIF"
    ),
    "429": ("the queue is full; try again in {seconds} s", "队列已满；请 {seconds} 秒后再试"),
}  # fmt: skip
for _name, _field in order.Request.model_fields.items():
    if _label := option_of(_field).label:
        WORDS[_name] = _label

TRANSLATIONS = gr.I18n(
    en={name: both[0] for name, both in WORDS.items()},
    zh={name: both[1] for name, both in WORDS.items()},
    **{"zh-CN": {name: both[1] for name, both in WORDS.items()}},
)


def words(name: str) -> Any:
    """A text that Gradio shows in the browser's language."""
    if name not in WORDS:
        raise KeyError(name)
    return TRANSLATIONS(name)


def prefers_chinese(request: gr.Request | Request | None) -> bool:
    """Whether the browser prefers Chinese."""
    accepted = "" if request is None else str(request.headers.get("accept-language", ""))
    return accepted.lower().startswith("zh")


def told(request: gr.Request | Request | None, name: str, **values: Any) -> str:
    """A text in the browser's preferred language, escaped for HTML."""
    return html.escape(WORDS[name][prefers_chinese(request)].format(**values), quote=False)
