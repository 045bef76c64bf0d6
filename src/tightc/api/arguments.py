"""Arguments of the public verbs: checked, with errors in the words of Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from tightc.config.options import Options
from tightc.config.renamed import in_python
from tightc.data.images import Images, Normalization, NormalizedImages
from tightc.data.samples import Samples, samples_of
from tightc.errors import OptionError, TightcError
from tightc.model.file import Model
from tightc.model.layer_view.network_inputs import network_inputs
from tightc.report import Result

Kind = TypeVar("Kind", bound=Options)
Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")


def options_from(kind: type[Kind], options: Kind | None, keywords: Mapping[str, Any]) -> Kind:
    """The `options` with `keywords` in place of single ones; OptionError where one is unknown or wrong."""
    if options is None:
        return kind(**keywords)
    if not isinstance(options, kind):
        raise OptionError(
            f"options: expected {kind.__name__}, got {type(options).__name__}",
            f"give tightc.{kind.__name__}(...), or the options as keywords",
        )
    if not keywords:
        return options
    return kind(**{**{name: getattr(options, name) for name in options.model_fields_set}, **keywords})


def require_model(model: object, name: str = "model") -> Model:
    """OptionError where `model` is not a Model."""
    if isinstance(model, Model):
        return model
    remedy = "give result.model" if isinstance(model, Result) else "read it first: tightc.load(path)"
    raise OptionError(f"{name}: expected a Model, got {type(model).__name__}", remedy)


def require_models(models: object) -> list[Model]:
    """The `models`, one or a list of them; OptionError where one is not a Model, or where there is none."""
    several = models if isinstance(models, list | tuple) and not isinstance(models, Result) else [models]
    if not several:
        raise OptionError(
            "models: expected at least one Model, got none", "give a model, or a list of models"
        )
    return [require_model(model, "models") for model in several]


def require_images(images: object) -> NormalizedImages:
    """OptionError where `images` are not labeled images as `load_images` returns them."""
    if isinstance(images, NormalizedImages):
        return images
    raise OptionError(
        f"images: expected NormalizedImages, got {type(images).__name__}",
        "read them first: tightc.load_images(source, model)",
    )


def require_data(images: object, model: Model) -> NormalizedImages | Samples:
    """Images, or samples; a mapping of names to arrays becomes samples for `model`. OptionError for anything else."""
    if isinstance(images, Samples):
        return images
    if isinstance(images, Mapping):
        return samples_of(images, network_inputs(model.proto, model.origin), "images")
    return require_images(images)


def images_and_normalization(data: NormalizedImages | Samples) -> tuple[Images | Samples, Normalization]:
    """Images and their normalization; samples are what the network takes."""
    return (data, Normalization()) if isinstance(data, Samples) else (data.images, data.normalization)


def refuse_without_images(keywords: Mapping[str, Any], *exempt: str) -> None:
    """OptionError where one of the `keywords`, other than those `exempt`, has no effect without images."""
    name = next((name for name in keywords if name not in exempt), None)
    if name is not None:
        raise OptionError(f"{name}: expected images too, got none", "give images, or leave it out")


def require_seed(seed: object) -> int:
    """OptionError where `seed` is not an integer from 0."""
    if isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0:
        return seed
    raise OptionError(f"seed: expected an integer from 0, got {seed!r}", "give an integer, such as seed=1")


def python_errors(function: Callable[Parameters, Returned]) -> Callable[Parameters, Returned]:
    """`function` with errors that name keywords where those of the command line name flags."""

    @wraps(function)
    def call(*arguments: Parameters.args, **keywords: Parameters.kwargs) -> Returned:
        try:
            return function(*arguments, **keywords)
        except TightcError as error:
            reworded = _in_python(error)
            raise reworded.with_traceback(error.__traceback__) from error.__cause__

    return call


def _in_python(error: TightcError) -> TightcError:
    return type(error)(in_python(error.sentence), in_python(error.remedy), [*map(_in_python, error.more)])
