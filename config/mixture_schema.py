"""Settings of several bundles that serve as one model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from config.sections import FilePath, Section


class MixtureSettings(Section):
    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,39}$", description="what strategies name as their model")
    members: list[str] = Field(
        min_length=2,
        description="by name: what the registry has promoted, else of models.directory; or NAME@VERSION, which stays",
    )
    weights: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default={}, description="of each member, by its name or version; empty: all alike"
    )
    weights_file: FilePath | None = Field(default=None, description="weights that models weigh has learned")
    weighing: Literal["fixed", "recent"] = Field(
        default="fixed",
        description="recent: from there on by what each member lost lately (models.watch.enabled: not false)",
    )
    on_failure: Literal["renormalise", "fail"] = Field(
        default="renormalise", description="when a member does not answer: the others go on, or no prediction"
    )
    weight_least: float = Field(
        default=0.5, ge=0, le=1, description="of the whole, that those who answer carry at least to go on"
    )

    @model_validator(mode="after")
    def _one_source(self) -> MixtureSettings:
        if self.weights and self.weights_file is not None:
            raise ValueError("either weights or weights_file")
        return self
