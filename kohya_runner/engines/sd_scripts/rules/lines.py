"""Where else a rule stands: its line in the scripts of the other methods, where that is another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

DB, FT, CN, TI = "train_db.py", "fine_tune.py", "train_control_net.py", "train_textual_inversion.py"
XL, XL_CN, LLLITE = "sdxl_train.py", "sdxl_train_control_net.py", "sdxl_train_control_net_lllite.py"
XL_TI, FLUX, FLUX_CN = "sdxl_train_textual_inversion.py", "flux_train.py", "flux_train_control_net.py"
SD3, LUMINA, ANIMA = "sd3_train.py", "lumina_train.py", "anima_train.py"
SDXL_LOADER = "library/sdxl_train_util.py"
WORKERS = {
    DB: f"{DB}:208", FT: f"{FT}:240", CN: f"{CN}:273", TI: f"{TI}:408", XL: f"{XL}:427", XL_CN: f"{XL_CN}:277",
    LLLITE: f"{LLLITE}:268", XL_TI: f"{TI}:408", FLUX: f"{FLUX}:394", FLUX_CN: f"{FLUX_CN}:401",
    SD3: f"{SD3}:498", LUMINA: f"{LUMINA}:441", ANIMA: f"{ANIMA}:310",
}  # fmt: skip
SDXL_SCRIPTS = (XL, XL_CN, LLLITE, XL_TI)

LINES: Mapping[str, Mapping[str, str]] = {
    "args.cached_latents_augmentation": {
        DB: f"{DB}:114", FT: f"{FT}:118", TI: f"{TI}:371", XL: f"{XL}:202", XL_TI: f"{TI}:371", FLUX: f"{FLUX}:177",
        SD3: f"{SD3}:189", LUMINA: f"{LUMINA}:183", ANIMA: f"{ANIMA}:152",
    },
    "args.cached_text_batch": {
        FLUX: f"{FLUX}:240", FLUX_CN: f"{FLUX_CN}:234", SD3: f"{SD3}:282", LUMINA: f"{LUMINA}:248",
        ANIMA: f"{ANIMA}:194",
    },
    "args.full_fp16": {
        DB: f"{DB}:237", FT: f"{FT}:266", CN: f"{CN}:300", TI: f"{TI}:472", FLUX: f"{FLUX}:425",
        FLUX_CN: f"{FLUX_CN}:432", **dict.fromkeys(SDXL_SCRIPTS, f"{SDXL_LOADER}:168"),
        SD3: f"{SD3}:530", LUMINA: f"{LUMINA}:482", ANIMA: f"{ANIMA}:335",
    },
    "args.full_bf16": {
        FLUX: f"{FLUX}:434", FLUX_CN: f"{FLUX_CN}:442", **dict.fromkeys(SDXL_SCRIPTS, f"{SDXL_LOADER}:173"),
        SD3: f"{SD3}:542", LUMINA: f"{LUMINA}:490", ANIMA: f"{ANIMA}:338",
    },
    "args.half_vae": {
        XL: f"{XL}:216", XL_CN: f"{XL_CN}:163", LLLITE: f"{LLLITE}:166", XL_TI: f"{TI}:213",
    },
    "args.blocks_to_swap_negative": {
        FLUX: f"{FLUX}:301", FLUX_CN: f"{FLUX_CN}:303", SD3: f"{SD3}:371", ANIMA: f"{ANIMA}:258",
    },
    "args.blocks_to_swap_offload": {FLUX: f"{FLUX}:81", FLUX_CN: f"{FLUX_CN}:92", ANIMA: f"{ANIMA}:67"},
    "args.persistent_workers": WORKERS,
    "args.loader_workers": WORKERS,
    "args.vae": {FLUX: f"{FLUX}:197", FLUX_CN: f"{FLUX_CN}:191", LUMINA: f"{LUMINA}:204"},
    "args.sample_missing": {
        FLUX: f"{FLUX}:253", FLUX_CN: f"{FLUX_CN}:247",
        SD3: f"{SD3}:294", LUMINA: f"{LUMINA}:261", ANIMA: f"{ANIMA}:202",
    },
    "args.steps_overridden": {
        DB: f"{DB}:219", FT: f"{FT}:251", CN: f"{CN}:285", TI: f"{TI}:419", XL: f"{XL}:438", XL_CN: f"{XL_CN}:289",
        LLLITE: f"{LLLITE}:280", XL_TI: f"{TI}:419", FLUX: f"{FLUX}:405", FLUX_CN: f"{FLUX_CN}:412",
        SD3: f"{SD3}:510", LUMINA: f"{LUMINA}:455", ANIMA: f"{ANIMA}:322",
    },
    "args.fused_backward_inert": dict.fromkeys((DB, FT, LLLITE, TI, XL_TI), "library/train_util.py:4848"),
    "args.text_rates_inert": {DB: f"{DB}:172", FT: f"{FT}:221", SD3: f"{SD3}:238"},
    "args.full_bf16_ignored": {FT: f"{FT}:266", CN: f"{CN}:300"},
    "args.fused_free": {FLUX_CN: f"{FLUX_CN}:387", SD3: f"{SD3}:484", LUMINA: f"{LUMINA}:421"},
    "args.fused_accumulation": {
        FLUX: f"{FLUX}:524", FLUX_CN: f"{FLUX_CN}:531", SD3: f"{SD3}:624", LUMINA: f"{LUMINA}:560",
    },
    "args.fused_twice": {FLUX: f"{FLUX}:476", FLUX_CN: f"{FLUX_CN}:483", SD3: f"{SD3}:603", LUMINA: f"{LUMINA}:537"},
    "args.fused_groups_inert": {FLUX_CN: f"{FLUX_CN}:843", SD3: f"{SD3}:1052", LUMINA: f"{LUMINA}:933"},
    "args.tokenizer_cache": {FLUX_CN: f"{FLUX_CN}:212", SD3: f"{SD3}:217", LUMINA: f"{LUMINA}:224"},
    "args.blocks_old": {FLUX_CN: f"{FLUX_CN}:288"},
    "args.weighted_inert": {XL_CN: f"{XL_CN}:496", LLLITE: f"{LLLITE}:447", FLUX_CN: f"{FLUX_CN}:626"},
    "args.weighted_inert_flux": {SD3: f"{SD3}:787", ANIMA: f"{ANIMA}:517"},
    "args.anima_unsloth_offload": {ANIMA: f"{ANIMA}:65"},
    "args.anima_unsloth_swap": {ANIMA: f"{ANIMA}:71"},
    "args.anima_unsloth_checkpointing": {ANIMA: f"{ANIMA}:62"},
    "args.save_format": {
        SD3: "library/sd3_train_utils.py:105", LUMINA: "library/lumina_train_util.py:965",
        ANIMA: "library/anima_train_utils.py:267",
    },
    "args.whole_rate": {SD3: "library/sd3_train_utils.py:57", ANIMA: f"{ANIMA}:281"},
    "args.loss_inert": {DB: f"{DB}:396", FT: f"{FT}:398"},
}  # fmt: skip
"""By the rule's code and the script. What is not here stands on the line that the rule itself names."""
