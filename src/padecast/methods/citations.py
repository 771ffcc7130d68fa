"""Whom to cite for a method, as BibTeX."""

from __future__ import annotations

from padecast.methods import look_up, split

BIBTEX = {
    "padecast": """@software{padecast,
  title  = {padecast: diffusion transformers that forecast what they would have computed},
  author = {{The padecast authors}},
  year   = {2026}
}""",
    "tc-pade": """@inproceedings{cui2026tcpade,
  title     = {{TC-Pad\\'e}: Trajectory-Consistent {Pad\\'e} Approximation for Diffusion Acceleration},
  author    = {Cui, Benlei and He, Shaoxuan and Huang, Bukun and Ye, Zhizeng and Sun, Yunyun and Huang, Longtao and
               Xue, Hui and Yang, Yang and Tang, Jingqun and Zhao, Zhou and Hong, Haiwen},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year      = {2026},
  note      = {arXiv:2603.02943}
}""",
    "spectrum": """@inproceedings{han2026spectrum,
  title     = {Adaptive Spectral Feature Forecasting for Diffusion Sampling Acceleration},
  author    = {Han, Jiaqi and Shi, Juntong and Li, Puheng and Ye, Haotian and Guo, Qiushan and Ermon, Stefano},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year      = {2026},
  note      = {arXiv:2603.01623}
}""",
    "taylorseer": """@article{liu2025taylorseer,
  title   = {From Reusing to Forecasting: Accelerating Diffusion Models with {TaylorSeers}},
  author  = {Liu, Jiacheng and Zou, Chang and Lyu, Yuanhuiyi and Chen, Junjie and Zhang, Linfeng},
  journal = {arXiv preprint arXiv:2503.06923},
  year    = {2025}
}""",
    "fora": """@article{selvaraju2024fora,
  title   = {{FORA}: Fast-Forward Caching in Diffusion Transformer Acceleration},
  author  = {Selvaraju, Pratheba and Ding, Tianyu and Chen, Tianyi and Zharkov, Ilya and Liang, Luming},
  journal = {arXiv preprint arXiv:2407.01425},
  year    = {2024}
}""",
    "teacache": """@article{liu2024teacache,
  title   = {Timestep Embedding Tells: It's Time to Cache for Video Diffusion Model},
  author  = {Liu, Feng and others},
  journal = {arXiv preprint arXiv:2411.19108},
  year    = {2024}
}""",
    "seacache": """@inproceedings{chung2026seacache,
  title     = {{SeaCache}: Spectral-Evolution-Aware Cache for Accelerating Diffusion Models},
  author    = {Chung, Jiwoo and Hyun, Sangeek and Lee, MinKyu and Han, Byeongju and Cha, Geonho and Wee, Dongyoon and
               Hong, Youngjun and Heo, Jae-Pil},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year      = {2026},
  note      = {arXiv:2602.18993}
}""",
    "magcache": """@article{ma2025magcache,
  title   = {{MagCache}: Fast Video Generation with Magnitude-Aware Cache},
  author  = {Ma, Zehong and others},
  journal = {arXiv preprint arXiv:2506.09045},
  year    = {2025}
}""",
    "easycache": """@article{zhou2025easycache,
  title   = {Less is Enough: Training-Free Video Diffusion Acceleration via Runtime-Adaptive Caching},
  author  = {Zhou, Xin and others},
  journal = {arXiv preprint arXiv:2507.02860},
  year    = {2025}
}""",
    "hicache": """@article{feng2025hicache,
  title   = {{HiCache}: Training-free Acceleration of Diffusion Models via {Hermite} Polynomial-based Feature Caching},
  author  = {Feng, Liang and others},
  journal = {arXiv preprint arXiv:2508.16984},
  year    = {2025}
}""",
    "foca": """@article{zheng2025foca,
  title   = {Forecast then Calibrate: Feature Caching as {ODE} for Efficient Diffusion Transformers},
  author  = {Zheng, Shikang and others},
  journal = {arXiv preprint arXiv:2508.16211},
  year    = {2025}
}""",
    "first-block": """@misc{paraattention,
  title        = {{ParaAttention}: Context parallel attention and first block cache},
  author       = {Cheng, Zeyi},
  howpublished = {github.com/chengzeyi/ParaAttention},
  year         = {2024}
}""",
    "toca": """@inproceedings{zou2025toca,
  title     = {Accelerating Diffusion Transformers with Token-wise Feature Caching},
  author    = {Zou, Chang and Liu, Xuyang and Liu, Ting and Huang, Siteng and Zhang, Linfeng},
  booktitle = {International Conference on Learning Representations},
  year      = {2025},
  note      = {arXiv:2410.05317}
}""",
    "delta-dit": """@article{chen2024deltadit,
  title   = {{$\\Delta$-DiT}: A Training-Free Acceleration Method Tailored for Diffusion Transformers},
  author  = {Chen, Pengtao and others},
  journal = {arXiv preprint arXiv:2406.01125},
  year    = {2024}
}""",
}


def cite(name: str) -> str:
    """Return the BibTeX entries of a method, padecast's own last.

    Args:
        name: A registered method, with options or without.

    Raises:
        UnknownName: If there is no such method.

    Example:
        >>> cite("spectrum").splitlines()[0]
        '@inproceedings{han2026spectrum,'
    """
    written, _ = split(name)
    return "\n\n".join(BIBTEX[key] for key in dict.fromkeys((*look_up(written).cites, "padecast")))
