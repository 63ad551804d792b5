"""What a run's checks of its gradient found, for the end of the run and for `certificate.json`."""

import hashlib
import json
import math
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jbackprop import whole_file
from jbackprop.training.check import Checks, Parameter
from jbackprop.training.config import Config
from jbackprop.training.environment import device, versions
from jbackprop.verify.report import figure


class Finding(NamedTuple):
    """The largest disagreement of one parameter's gradient, and the step, counted from 1, where it occurred first.

    `beyond` is the first step that exceeds the bound, None where none does.
    """

    parameter: Parameter
    disagreement: float
    step: int
    beyond: int | None

    @property
    def ok(self) -> bool:
        """Whether rounding explains it."""
        return self.beyond is None


class Certificate(NamedTuple):
    """The findings, one a parameter, of `checked` steps out of `steps`, one in `every`."""

    gradient: str
    every: int
    steps: int
    checked: int
    findings: tuple[Finding, ...]

    @property
    def worst(self) -> Finding:
        """The finding that exceeds its bound most, or comes nearest to it."""
        return max(self.findings, key=lambda finding: finding.disagreement / finding.parameter.bound)

    @property
    def agree(self) -> bool:
        """Whether rounding explains every disagreement."""
        return all(finding.ok for finding in self.findings)

    def __str__(self) -> str:
        worst = self.worst
        lines = [
            f"gradient disagreement at most {figure(worst.disagreement)} of max|g| ({worst.parameter.path} at step "
            f"{worst.step:,}): {self.gradient} against automatic in {self.checked:,} of {self.steps:,} steps"
        ]
        wrong = sorted((f for f in self.findings if not f.ok), key=lambda finding: -finding.disagreement)
        if not wrong:
            return f"{lines[0]}\nagree: within {worst.parameter.bound:.1e}, which rounding explains"
        lines.append(f"WRONG: during training {self.gradient} is not the automatic gradient")
        lines += [f"  {_in_words(finding)}" for finding in wrong]
        return "\n".join(lines)


def certify(gradient: str, every: int, steps: int, parameters: tuple[Parameter, ...], checks: Checks) -> Certificate:
    """Returns the certificate of a run of `steps` steps. There must be at least one check."""
    if not len(checks.steps):
        raise ValueError("certify: no step was checked, and nothing can be said about none")
    found = zip(parameters, checks.disagreement.T, strict=True)
    findings = tuple(_finding(parameter, checks.steps, errors) for parameter, errors in found)
    return Certificate(gradient, every, steps, len(checks.steps), findings)


def _finding(parameter: Parameter, steps: np.ndarray, errors: np.ndarray) -> Finding:
    place, beyond = int(np.argmax(errors)), steps[errors > parameter.bound]
    return Finding(parameter, float(errors[place]), int(steps[place]), int(beyond[0]) if len(beyond) else None)


def save_certificate(folder: Path, certificate: Certificate, config: Config, ended: str | None) -> None:
    """Writes `certificate.json` whole or not at all. JSON has no infinity: a disagreement that is infinite is "inf"."""
    text = json.dumps(_content(folder, certificate, config, ended), indent=1, allow_nan=False) + "\n"
    whole_file.write(folder / "certificate.json", lambda path: path.write_text(text, encoding="utf-8"))


def _content(folder: Path, certificate: Certificate, config: Config, ended: str | None) -> dict[str, Any]:
    return {
        "verdict": "agree" if certificate.agree else "wrong",
        "gradient": certificate.gradient,
        "against": "automatic",
        "measure": "max|d| / max|g|, g the automatic gradient of the same step",
        "largest": {"parameter": certificate.worst.parameter.path} | _described(certificate.worst),
        "parameters": {finding.parameter.path: _described(finding) for finding in certificate.findings},
        "check_every": certificate.every,
        "steps_checked": certificate.checked,
        "steps": certificate.steps,
        "ended": ended or "complete",
        "configuration": {
            "file": "config.toml",
            "sha256": hashlib.sha256((folder / "config.toml").read_bytes()).hexdigest(),
            "network": config.network.name,
            "seed": config.seed,
        },
        "versions": versions(),
        "device": device(),
        "date": date.today().isoformat(),
    }


def _described(finding: Finding) -> dict[str, Any]:
    error = finding.disagreement
    return {
        "disagreement": error if math.isfinite(error) else "inf",
        "step": finding.step,
        "bound": finding.parameter.bound,
        "first_step_beyond_bound": finding.beyond,
        "shape": list(finding.parameter.shape),
        "dtype": finding.parameter.dtype,
        "verdict": "agree" if finding.ok else "wrong",
    }


def _in_words(finding: Finding) -> str:
    path, bound = (
        finding.parameter.path,
        f"beyond the bound {finding.parameter.bound:.1e} since step {finding.beyond:,}",
    )
    if math.isinf(finding.disagreement):
        return f"{path}: not finite, or not zero where the automatic one is, at step {finding.step:,}; {bound}"
    return f"{path}: {figure(finding.disagreement)} at step {finding.step:,}; {bound}"
