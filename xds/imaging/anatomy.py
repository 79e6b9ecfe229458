"""Body Part Examined as SNOMED CT codes, and the coarse regions that searches use.

DICOM PS3.16: Annex L (defined terms) and CID 4 (codes), edition 2024e; regions: IHE RAD MADO, value set
1.3.6.1.4.1.19376.1.1.86.1.  Which region a body part belongs to is our reading: MADO leaves it open.
"""

from __future__ import annotations

from xds.imaging.manifest import Code

SCT = "SCT"
"""SNOMED CT.  PS3.16: Table 8-1."""

LOWER_TRUNK = Code("63337009", SCT, "Lower trunk")
ENTIRE_BODY = Code("38266002", SCT, "Entire body")
UPPER_LIMB = Code("53120007", SCT, "Upper limb")
LOWER_LIMB = Code("61685007", SCT, "Lower limb")
UPPER_TRUNK = Code("67734004", SCT, "Upper trunk")
HEAD_AND_NECK = Code("774007", SCT, "Head and Neck")
CARDIOVASCULAR = Code("113257007", SCT, "Cardiovascular system")
HEART = Code("80891009", SCT, "Heart")
BREAST = Code("76752008", SCT, "Breast")
SPINE = Code("1141981001", SCT, "Vertebral column")

# Defined term: SNOMED CT code, meaning, regions.
_BODY_PARTS: dict[str, tuple[str, str, tuple[Code, ...]]] = {
    "ABDOMEN": ("818981001", "Abdomen", (LOWER_TRUNK,)),
    "ABDOMENPELVIS": ("818982008", "Abdomen and Pelvis", (LOWER_TRUNK,)),
    "ADRENAL": ("23451007", "Adrenal gland", (LOWER_TRUNK,)),
    "ANKLE": ("70258002", "Ankle joint", (LOWER_LIMB,)),
    "AORTA": ("15825003", "Aorta", (CARDIOVASCULAR,)),
    "ARM": ("40983000", "Upper arm", (UPPER_LIMB,)),
    "AXILLA": ("91470000", "Axilla", (UPPER_TRUNK,)),
    "BACK": ("77568009", "Back", (UPPER_TRUNK, LOWER_TRUNK)),
    "BILEDUCT": ("28273000", "Bile duct", (LOWER_TRUNK,)),
    "BLADDER": ("89837001", "Bladder", (LOWER_TRUNK,)),
    "BRAIN": ("12738006", "Brain", (HEAD_AND_NECK,)),
    "BREAST": ("76752008", "Breast", (BREAST,)),
    "BRONCHUS": ("955009", "Bronchus", (UPPER_TRUNK,)),
    "BUTTOCK": ("46862004", "Buttock", (LOWER_LIMB,)),
    "CALCANEUS": ("80144004", "Calcaneus", (LOWER_LIMB,)),
    "CALF": ("30021000", "Lower leg", (LOWER_LIMB,)),
    "CAROTID": ("69105007", "Carotid Artery", (CARDIOVASCULAR,)),
    "CEREBELLUM": ("113305005", "Cerebellum", (HEAD_AND_NECK,)),
    "CERVIX": ("71252005", "Cervix", (LOWER_TRUNK,)),
    "CHEEK": ("60819002", "Cheek", (HEAD_AND_NECK,)),
    "CHEST": ("816094009", "Thorax", (UPPER_TRUNK,)),
    "CHESTABDOMEN": (
        "416550000",
        "Chest and Abdomen",
        (
            UPPER_TRUNK,
            LOWER_TRUNK,
        ),
    ),
    "CHESTABDPELVIS": (
        "416775004",
        "Chest, Abdomen and Pelvis",
        (
            UPPER_TRUNK,
            LOWER_TRUNK,
        ),
    ),
    "CIRCLEOFWILLIS": ("11279006", "Circle of Willis", (CARDIOVASCULAR,)),
    "CLAVICLE": ("51299004", "Clavicle", (UPPER_TRUNK,)),
    "COCCYX": ("64688005", "Coccyx", (SPINE,)),
    "COLON": ("71854001", "Colon", (LOWER_TRUNK,)),
    "CORNEA": ("28726007", "Cornea", (HEAD_AND_NECK,)),
    "CORONARYARTERY": ("41801008", "Coronary artery", (HEART,)),
    "CSPINE": ("122494005", "Cervical spine", (SPINE,)),
    "CTSPINE": ("1217257000", "Cervico-thoracic spine", (SPINE,)),
    "DUODENUM": ("38848004", "Duodenum", (LOWER_TRUNK,)),
    "EAR": ("117590005", "Ear", (HEAD_AND_NECK,)),
    "ELBOW": ("16953009", "Elbow joint", (UPPER_LIMB,)),
    "ESOPHAGUS": ("32849002", "Esophagus", (UPPER_TRUNK,)),
    "EXTREMITY": (
        "66019005",
        "Extremity",
        (
            UPPER_LIMB,
            LOWER_LIMB,
        ),
    ),
    "EYE": ("81745001", "Eye", (HEAD_AND_NECK,)),
    "EYELID": ("80243003", "Eyelid", (HEAD_AND_NECK,)),
    "FACE": ("89545001", "Face", (HEAD_AND_NECK,)),
    "FEMUR": ("71341001", "Femur", (LOWER_LIMB,)),
    "FIBULA": ("87342007", "Fibula", (LOWER_LIMB,)),
    "FINGER": ("7569003", "Finger", (UPPER_LIMB,)),
    "FOOT": ("56459004", "Foot", (LOWER_LIMB,)),
    "FOREARM": ("14975008", "Forearm", (UPPER_LIMB,)),
    "GALLBLADDER": ("28231008", "Gallbladder", (LOWER_TRUNK,)),
    "HAND": ("85562004", "Hand", (UPPER_LIMB,)),
    "HEAD": ("69536005", "Head", (HEAD_AND_NECK,)),
    "HEADNECK": ("774007", "Head and Neck", (HEAD_AND_NECK,)),
    "HEART": ("80891009", "Heart", (HEART,)),
    "HIP": ("29836001", "Hip", (LOWER_LIMB,)),
    "HUMERUS": ("85050009", "Humerus", (UPPER_LIMB,)),
    "IAC": ("361078006", "Internal Auditory Canal", (HEAD_AND_NECK,)),
    "ILEUM": ("34516001", "Ileum", (LOWER_TRUNK,)),
    "ILIUM": ("22356005", "Ilium", (LOWER_TRUNK,)),
    "JAW": ("661005", "Jaw region", (HEAD_AND_NECK,)),
    "JEJUNUM": ("21306003", "Jejunum", (LOWER_TRUNK,)),
    "KIDNEY": ("64033007", "Kidney", (LOWER_TRUNK,)),
    "KNEE": ("72696002", "Knee", (LOWER_LIMB,)),
    "LARYNX": ("4596009", "Larynx", (HEAD_AND_NECK,)),
    "LEG": ("61685007", "Lower limb", (LOWER_LIMB,)),
    "LIVER": ("10200004", "Liver", (LOWER_TRUNK,)),
    "LSPINE": ("122496007", "Lumbar spine", (SPINE,)),
    "LSSPINE": ("1217253001", "Lumbo-sacral spine", (SPINE,)),
    "LUNG": ("39607008", "Lung", (UPPER_TRUNK,)),
    "MANDIBLE": ("91609006", "Mandible", (HEAD_AND_NECK,)),
    "MAXILLA": ("70925003", "Maxilla", (HEAD_AND_NECK,)),
    "MEDIASTINUM": ("72410000", "Mediastinum", (UPPER_TRUNK,)),
    "MOUTH": ("123851003", "Mouth", (HEAD_AND_NECK,)),
    "NECK": ("45048000", "Neck", (HEAD_AND_NECK,)),
    "NECKCHEST": (
        "417437006",
        "Neck and Chest",
        (
            HEAD_AND_NECK,
            UPPER_TRUNK,
        ),
    ),
    "NECKCHESTABDOMEN": (
        "416152001",
        "Neck, Chest and Abdomen",
        (
            HEAD_AND_NECK,
            UPPER_TRUNK,
            LOWER_TRUNK,
        ),
    ),
    "NECKCHESTABDPELV": (
        "416319003",
        "Neck, Chest, Abdomen and Pelvis",
        (
            HEAD_AND_NECK,
            UPPER_TRUNK,
            LOWER_TRUNK,
        ),
    ),
    "NOSE": ("45206002", "Nose", (HEAD_AND_NECK,)),
    "ORBIT": ("363654007", "Orbital structure", (HEAD_AND_NECK,)),
    "OVARY": ("15497006", "Ovary", (LOWER_TRUNK,)),
    "PANCREAS": ("15776009", "Pancreas", (LOWER_TRUNK,)),
    "PAROTID": ("45289007", "Parotid gland", (HEAD_AND_NECK,)),
    "PATELLA": ("64234005", "Patella", (LOWER_LIMB,)),
    "PELVIS": ("816092008", "Pelvis", (LOWER_TRUNK,)),
    "PENIS": ("18911002", "Penis", (LOWER_TRUNK,)),
    "PHARYNX": ("54066008", "Pharynx", (HEAD_AND_NECK,)),
    "PROSTATE": ("41216001", "Prostate", (LOWER_TRUNK,)),
    "RECTUM": ("34402009", "Rectum", (LOWER_TRUNK,)),
    "RIB": ("113197003", "Rib", (UPPER_TRUNK,)),
    "SCALP": ("41695006", "Scalp", (HEAD_AND_NECK,)),
    "SCAPULA": ("79601000", "Scapula", (UPPER_TRUNK,)),
    "SCLERA": ("18619003", "Sclera", (HEAD_AND_NECK,)),
    "SCROTUM": ("20233005", "Scrotum", (LOWER_TRUNK,)),
    "SHOULDER": ("16982005", "Shoulder", (UPPER_LIMB,)),
    "SIJOINT": ("39723000", "Sacroiliac joint", (LOWER_TRUNK,)),
    "SINUS": ("2095001", "Paranasal sinus", (HEAD_AND_NECK,)),
    "SKULL": ("89546000", "Skull", (HEAD_AND_NECK,)),
    "SPINE": ("421060004", "Spine", (SPINE,)),
    "SPLEEN": ("78961009", "Spleen", (LOWER_TRUNK,)),
    "SSPINE": ("54735007", "Sacrum", (SPINE,)),
    "STERNUM": ("56873002", "Sternum", (UPPER_TRUNK,)),
    "STOMACH": ("69695003", "Stomach", (LOWER_TRUNK,)),
    "SUBMANDIBULAR": ("5713008", "Submandibular area", (HEAD_AND_NECK,)),
    "TESTIS": ("40689003", "Testis", (LOWER_TRUNK,)),
    "THIGH": ("68367000", "Thigh", (LOWER_LIMB,)),
    "THUMB": ("76505004", "Thumb", (UPPER_LIMB,)),
    "THYMUS": ("9875009", "Thymus", (UPPER_TRUNK,)),
    "THYROID": ("69748006", "Thyroid", (HEAD_AND_NECK,)),
    "TLSPINE": ("1217256009", "Thoraco-lumbar spine", (SPINE,)),
    "TMJ": ("53620006", "Temporomandibular joint", (HEAD_AND_NECK,)),
    "TOE": ("29707007", "Toe", (LOWER_LIMB,)),
    "TONGUE": ("21974007", "Tongue", (HEAD_AND_NECK,)),
    "TRACHEA": ("44567001", "Trachea", (UPPER_TRUNK,)),
    "TSPINE": ("122495006", "Thoracic spine", (SPINE,)),
    "URETER": ("87953007", "Ureter", (LOWER_TRUNK,)),
    "URETHRA": ("13648007", "Urethra", (LOWER_TRUNK,)),
    "UTERUS": ("35039007", "Uterus", (LOWER_TRUNK,)),
    "VAGINA": ("76784001", "Vagina", (LOWER_TRUNK,)),
    "VULVA": ("45292006", "Vulva", (LOWER_TRUNK,)),
    "WHOLEBODY": ("38266002", "Entire body", (ENTIRE_BODY,)),
    "WRIST": ("74670003", "Wrist joint", (UPPER_LIMB,)),
    "ZYGOMA": ("13881006", "Zygoma", (HEAD_AND_NECK,)),
}

# What modalities write in place of the defined term.
_ALIASES = {
    "ABD": "ABDOMEN",
    "ABDOMENANDPELVIS": "ABDOMENPELVIS",
    "BODY": "WHOLEBODY",
    "CERVICALSPINE": "CSPINE",
    "CHESTABDOMENPELVIS": "CHESTABDPELVIS",
    "CERVSPINE": "CSPINE",
    "CSPLINE": "CSPINE",
    "FULLBODY": "WHOLEBODY",
    "LEFTBREAST": "BREAST",
    "LOWERLEG": "CALF",
    "LUMBARSPINE": "LSPINE",
    "LUNGS": "LUNG",
    "NECKTHORAXABDOMEN": "NECKCHESTABDOMEN",
    "RIGHTBREAST": "BREAST",
    "SINUSES": "SINUS",
    "THORACICSPINE": "TSPINE",
    "THORAX": "CHEST",
    "THORAXABDOMEN": "CHESTABDOMEN",
    "TIBIA": "CALF",
    "UPPERARM": "ARM",
}
_REGIONS_BY_CODE = {code: regions for code, _, regions in _BODY_PARTS.values()} | {
    region.value: (region,)
    for region in (
        LOWER_TRUNK,
        ENTIRE_BODY,
        UPPER_LIMB,
        LOWER_LIMB,
        UPPER_TRUNK,
        HEAD_AND_NECK,
        CARDIOVASCULAR,
        HEART,
        BREAST,
        SPINE,
    )
}


def body_part(examined: str) -> Code | None:
    """The code of a value of Body Part Examined (0018,0015); ``None`` for what is no defined term.

    Case, blanks, ``_`` and ``-`` do not count.
    """
    term = "".join(character for character in examined.upper() if character.isalnum())
    found = _BODY_PARTS.get(_ALIASES.get(term, term))
    return Code(found[0], SCT, found[1]) if found else None


def regions(part: Code) -> tuple[Code, ...]:
    """The coarse regions that a coded body part lies in; empty where we do not know."""
    return _REGIONS_BY_CODE.get(part.value, ()) if part.scheme == SCT else ()
