"""The options of a picture, each declared once: name, type, range, description, and how it is offered."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from twinset.compliance.labels.visible import WORDINGS, Corner
from twinset.pipelines.denoising.schedulers import SchedulerName
from twinset.pipelines.families.photo_adapters import GarmentName, IdentityName
from twinset.pipelines.loading.pasted_settings import LARGEST_SEED
from twinset.pipelines.named_files import GarmentPicture, LoraChoice, ParserFile, PersonChoice
from twinset.pipelines.options import Blend, Option
from twinset.pipelines.sizes import FORMATS, SIZE_PATTERN, check_size

Framing = Literal["portrait", "half", "three_quarter", "full"]


class RequestFields(BaseModel):
    """What may be said of a picture.

    This is the only place where an option of a picture is declared: command line, REST, page and ComfyUI nodes are made
    from these fields, their descriptions and their `Option`s.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: Annotated[str, Field(description="What to draw: a sentence, English or Chinese.")]
    negative: Annotated[
        str | None,
        Field(max_length=2000, description="What must not be in the picture, in words."),
        Option(label=("What must not be in the picture", "不要出现的内容"), advanced=True),
    ] = None
    raw_prompt: Annotated[
        bool,
        Field(description="Pass the prompt to the text encoder as it is: nothing translated, corrected or added."),
        Option(label=("Use the prompt as it is", "原样使用提示词"), advanced=True),
    ] = False
    selfies: Annotated[
        tuple[Path, ...],
        Field(description="A picture of the person, or an aligned crop of the face. Several become one identity."),
        Option(flag="--selfie"),
    ] = ()
    face: Annotated[
        str,
        Field(
            pattern=r"^(largest|centre|[1-9][0-9]?)$",
            description="Of several faces in a selfie: largest, centre, or its number from the left.",
        ),
        Option(advanced=True),
    ] = "largest"
    garments: Annotated[
        tuple[GarmentPicture, ...],
        Field(description="A garment's picture, or kind=picture (dress=red.png); the kind is recognised if not given."),
        Option(flag="--garment"),
    ] = ()
    people: Annotated[
        tuple[PersonChoice, ...],
        Field(
            max_length=3,
            description='Several people side by side (sd15, sdxl), each with a face and an outfit: "selfie=a.jpg '
            'garment=coat=c.png pose=waving".',
        ),
        Option(flag="--person", use="scene", operator=True),
    ] = ()
    loras: Annotated[
        tuple[LoraChoice, ...],
        Field(max_length=8, description="A LoRA file, or file=weight (jacket.safetensors=0.8)."),
        Option(flag="--lora", operator=True),
    ] = ()
    embeddings: Annotated[
        tuple[Path, ...],
        Field(
            max_length=8,
            description="A textual inversion (.safetensors; sd15, sdxl); its token is the file's name, for --prompt or "
            "--negative.",
        ),
        Option(flag="--embedding", operator=True),
    ] = ()
    pose: Annotated[
        str | None,
        Field(
            description="A preset (see `twinset poses`), mirrored (walking:mirror), a keypoint file or a picture; "
            "else the pose that the prompt names, else a preset drawn by the seed."
        ),
        Option(use="scene"),
    ] = None
    framing: Annotated[
        Framing,
        Field(description="How much of the body is seen."),
        Option(label=("How much of the body is seen", "取景范围"), use="scene"),
    ] = "three_quarter"
    hair: Annotated[
        Literal["selfie", "seed"],
        Field(description="Source of the hair if the prompt does not say (bundled model): the selfie, or the seed."),
        Option(label=("Hair, if the prompt does not say", "未说明的发型取自"), use="scene", advanced=True),
    ] = "selfie"
    photo: Annotated[
        Path | None,
        Field(
            description="The photo in which to change face, outfit or both; everything else stays, "
            "pose and framing too."
        ),
        Option(use="photo"),
    ] = None
    blend: Annotated[
        Blend,
        Field(description="How the redrawn part is blended into the photo; poisson leaves no visible seam."),
        Option(label=("How the change is blended into the photo", "与照片的融合方式"), use="photo", advanced=True),
    ] = "soft"
    way: Annotated[
        Literal["joint", "serial"],
        Field(description="joint: face and outfit in one pass; serial: swap, try on and repair, for comparison."),
        Option(label=("In one pass, or one after the other", "一次生成或分步生成"), advanced=True),
    ] = "joint"
    repair: Annotated[
        bool,
        Field(description="Measure each picture and repair what is wrong with it."),
        Option(label=("Measure and repair", "检测并修复"), advanced=True),
    ] = True
    fusion_strength: Annotated[
        float,
        Field(ge=0.0, le=1.0, description="How far repairs of colour and light go."),
        Option(label=("How far colour and light are repaired", "颜色与光线的修复程度"), advanced=True),
    ] = 1.0
    skin_tone_match: Annotated[
        float,
        Field(ge=0.0, le=1.0, description="How far the face takes the skin tone of the body."),
        Option(label=("How far the face takes the body's skin tone", "面部肤色与身体的匹配程度"), advanced=True),
    ] = 0.8
    candidates: Annotated[
        int,
        Field(ge=1, le=64, description="Seeds to try at most while a picture has faults."),
        Option(label=("Seeds to try while a picture has faults", "有问题时的尝试次数"), advanced=True),
    ] = 2
    repair_seconds: Annotated[
        float,
        Field(ge=0.0, description="Seconds after which no repair or try begins; a replay may then differ."),
        Option(advanced=True, step=1.0),
    ] = 300.0
    min_identity: Annotated[
        float | None,
        Field(ge=-1.0, le=1.0, description="Refuse faces whose cosine similarity to the selfie is lower."),
        Option(label=("Refuse faces less like the selfie than", "低于此相似度则不采用"), advanced=True),
    ] = None
    size: Annotated[
        str | None,
        Field(
            pattern=SIZE_PATTERN,
            description=f"Width and height in pixels (384x512), or one of {', '.join(FORMATS)}; frame is what the "
            "model draws in one stage. The model's own size when absent. Larger pictures are drawn in stages.",
        ),
        AfterValidator(check_size),
        Option(label=("Size: width x height, or a format", "尺寸：宽x高，或版式名")),
    ] = None
    hires_strength: Annotated[
        float | None,
        Field(
            ge=0.1,
            le=0.9,
            description="Share of the steps that each stage after the first runs on the enlarged picture; the model's "
            "own when absent.",
        ),
        Option(label=("Steps of each further stage, as a share", "后续阶段的步数占比"), advanced=True),
    ] = None
    detail: Annotated[
        Literal["face", "none"],
        Field(description="face: a small face is drawn again, enlarged, and blended in; none: it is not."),
        Option(label=("Draw small faces again, enlarged", "小脸放大重绘"), advanced=True),
    ] = "face"
    num: Annotated[
        int, Field(ge=1, le=256, description="Number of pictures."), Option(label=("Number of pictures", "图片数量"))
    ] = 1
    seed: Annotated[
        int | None,
        Field(ge=0, le=LARGEST_SEED, description="Picture i uses seed + i; random, and recorded, when absent."),
        Option(label=("Seed: the same number gives the same picture", "种子：相同数字得到相同图片")),
    ] = None
    steps: Annotated[
        int | None,
        Field(ge=1, le=1000, description="Denoising steps; the model's own number when absent."),
        Option(label=("Denoising steps", "去噪步数"), advanced=True),
    ] = None
    scheduler: Annotated[
        SchedulerName | None,
        Field(description="Sampler of the denoising steps; the model's own when absent."),
        Option(label=("Sampler", "采样器"), advanced=True),
    ] = None
    guidance: Annotated[
        float | None,
        Field(
            ge=0.0,
            le=30.0,
            description="Guidance over prompt and conditions, 1 is off; the model's own when absent.",
        ),
        Option(label=("How strictly the words are followed", "文字引导强度"), advanced=True),
    ] = None
    identity_strength: Annotated[
        float,
        Field(ge=0.0, le=2.0, description="Weight of the selfie: 0 switches it off, 1 is usual."),
        Option(label=("Weight of the selfie", "自拍的权重")),
    ] = 1.0
    garment_strength: Annotated[
        float,
        Field(ge=0.0, le=2.0, description="Weight of the garments: 0 switches them off, 1 is usual."),
        Option(label=("Weight of the garments", "服装的权重")),
    ] = 1.0
    pose_strength: Annotated[
        float,
        Field(ge=0.0, le=2.0, description="Weight of the pose: 0 switches it off, 1 is usual."),
        Option(label=("Weight of the pose", "姿势的权重"), use="scene", advanced=True),
    ] = 1.0
    parsing_strength: Annotated[
        float,
        Field(
            ge=0.0,
            le=2.0,
            description="Weight of the parsing map (sd15, sdxl): which parts of the person are where; 0 switches it "
            "off.",
        ),
        Option(label=("Weight of the parsing map (sd15, sdxl)", "人体分割图的权重（sd15、sdxl）"), advanced=True),
    ] = 0.5
    identity_adapter: Annotated[
        IdentityName | None,
        Field(
            description="What brings the selfie's face (sd15, sdxl); faceid-plusv2, or with --commercial plus-face, "
            "when absent. instantid is for sdxl."
        ),
        Option(label=("Identity adapter (sd15, sdxl)", "人脸适配器（sd15、sdxl）"), advanced=True),
    ] = None
    garment_adapter: Annotated[
        GarmentName | None,
        Field(
            description="What brings the garments (sd15, sdxl); ip-adapter-plus when absent. imagdressing and "
            "magic-clothing are for sd15; storymaker, which brings the face too, for sdxl."
        ),
        Option(label=("Garment adapter (sd15, sdxl)", "服装适配器（sd15、sdxl）"), advanced=True),
    ] = None
    face_lora_strength: Annotated[
        float,
        Field(
            ge=0.0,
            le=2.0,
            description="Weight of the LoRA that FaceID brings (sd15, sdxl), where a selfie acts: 1 as its authors "
            "have it, 0.6 to 0.8 keeps more of the base model's look.",
        ),
        Option(label=("Weight of FaceID's LoRA (sd15, sdxl)", "FaceID LoRA 的权重（sd15、sdxl）"), advanced=True),
    ] = 1.0
    fast: Annotated[
        bool,
        Field(description="Draw in 8 steps by Hyper-SD's LoRA (sd15, sdxl)."),
        Option(label=("Few steps (sd15, sdxl)", "少步快速生成（sd15、sdxl）"), advanced=True),
    ] = False
    economical: Annotated[
        bool,
        Field(
            description="About half the work, a picture a little different: reuses what changes little between steps."
        ),
        Option(
            label=("Save work: about half, a little different", "节省算力：约一半，略有不同"),
            use="scene",
            advanced=True,
        ),
    ] = False
    model: Annotated[
        str,
        Field(description="studio, sd15, sdxl, a model folder, a .safetensors checkpoint, or the hub id of one."),
        Option(flag="--model --base", operator=True),
    ] = "studio"
    faces: Annotated[
        str,
        Field(
            pattern=r"^(profile|insightface|.+\.onnx)$",
            description="What finds faces (sd15, sdxl): profile, the model's own networks; insightface, that package, "
            "which also recognises them (non-commercial); or your own FILE.onnx: SCRFD, RetinaFace, YOLO-Face, YuNet.",
        ),
        Option(operator=True, advanced=True),
    ] = "profile"
    pose_estimator: Annotated[
        Literal["rtmlib", "openpose"],
        Field(
            description="What reads poses off photos (sd15, sdxl): rtmlib (DWPose), or controlnet-aux's OpenPose "
            "(non-commercial)."
        ),
        Option(operator=True, advanced=True),
    ] = "rtmlib"
    parser: Annotated[
        ParserFile | None,
        Field(
            description="Your own parsing network in place of SegFormer (sd15, sdxl): schp=FILE.onnx or "
            "hrnet=FILE.onnx."
        ),
        Option(operator=True, advanced=True),
    ] = None
    attention: Annotated[
        Literal["native", "xformers"],
        Field(description="What computes attention: native, PyTorch's own, or the package xformers (CUDA only)."),
        Option(operator=True, advanced=True),
    ] = "native"
    labels: Annotated[
        bool,
        Field(
            description="Say in and on each picture that it was generated: visible label, pixel mark, XMP, signature. "
            "Laws may require it."
        ),
    ] = True
    label_text: Annotated[
        str,
        Field(max_length=40, description=f"The visible label: {', '.join(WORDINGS)}, or your own."),
        Option(label=("Words of the label", "标识文字"), advanced=True),
    ] = WORDINGS[0]
    label_corner: Annotated[
        Corner,
        Field(description="Where the visible label is; none leaves it out, but keeps pixel mark, XMP and signature."),
        Option(label=("Corner of the label", "标识位置"), advanced=True),
    ] = "bottom_right"
    consent: Annotated[
        str | None,
        Field(
            pattern=r"^[0-9a-f]{16}$",
            description="Reference of the person's consent, checked before anything is drawn; "
            "batches and the service need one for every face.",
        ),
    ] = None
    safety: Annotated[
        Literal["off", "warn", "refuse"],
        Field(description="What to do when the safety checker flags nudity: warn, refuse, or off (no check)."),
        Option(operator=True),
    ] = "warn"
    show_regions: Annotated[
        bool,
        Field(description="Also write overlays of each condition's region."),
        Option(operator=True),
    ] = False
