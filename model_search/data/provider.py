"""The interface of a data provider, and the registry of providers that the command finds by name."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from model_search.data.prepare_options import PrepareOptions
from model_search.data.prepared_data import PreparedData
from model_search.errors import UnsupportedError, UserError


class Provider(abc.ABC):
    """A source of data.

    Your own provider needs two methods::

        class Provider(model_search.data.Provider):
            def get_input_fn(self, hparams, mode, batch_size):
                def input_fn():
                    return tf.data.Dataset.from_tensor_slices((features, labels)).batch(batch_size)
                return input_fn

            def number_of_classes(self):
                return 3

    `prepare` is called once per process; by default it reads what `get_input_fn` yields.
    """

    @abc.abstractmethod
    def number_of_classes(self) -> int:
        """The number of classes; for regression the number of targets (1)."""

    def get_input_fn(self, hparams: Any, mode: str, batch_size: int) -> Callable[[], Any]:
        """A function without arguments that opens the data.

        Args:
            hparams: An object with the attribute `batch_size`.
            mode: "train", "eval" or "infer".
            batch_size: Rows per batch.

        Returns:
            A function that returns a `tf.data.Dataset` of (features, labels) batches, or that pair of tensors with all
            rows; features are one tensor or a dict of tensors by name, the first axis being the rows. Labels are class
            numbers, one-hot, booleans or texts; or floats with `number_of_classes() == 1`. Weights may come third.
            In a dict, a feature "lengths" says how many steps of padded sequences are valid.
        """
        raise UnsupportedError(
            f"{type(self).__name__} has no get_input_fn; define it, as model_search.data.Provider says"
        )

    def get_serving_input_fn(self, hparams: Any) -> Callable[[], Any] | None:
        """Accepted for older providers; an exported model takes its inputs from the features."""
        return None

    def get_feature_columns(self) -> Sequence[Any] | None:
        """Numeric feature columns (`key`, `shape`) that choose and order the features; None takes them by name."""
        return None

    def get_loss_fn(self) -> Callable[..., Any] | None:
        """The provider's own loss, `fn(labels, logits, weights) -> scalar`; None for the usual one of the task."""
        return None

    def get_metric_fn(self) -> Callable[..., Any] | None:
        """The provider's own metric, `fn(labels, predictions) -> number`; None for the usual ones of the task."""
        return None

    def prepare(self, options: PrepareOptions) -> PreparedData:
        """Reads the data and makes them ready to be trained on.

        Raises:
            DataError: if they cannot be read or learnt from; the message says what is wrong.
        """
        from model_search.data.streams import prepare_stream

        return prepare_stream(self, options)


_PROVIDERS: dict[str, tuple[type[Provider], dict[str, Any]]] = {}
ProviderClass = TypeVar("ProviderClass", bound=type[Provider])


def register_provider(
    lookup_name: str, init_args: Mapping[str, Any] | None = None
) -> Callable[[ProviderClass], ProviderClass]:
    """Registers a provider class, so that the command finds it by name (`--phoenix_dataset`).

    Args:
        lookup_name: The name; registering another class under a name that is taken is refused.
        init_args: Arguments of the constructor.

    Raises:
        UserError: if the name is taken.
    """

    def register(cls: ProviderClass) -> ProviderClass:
        taken = _PROVIDERS.get(lookup_name)
        identity = (cls.__module__, cls.__qualname__)
        if taken is not None and (taken[0].__module__, taken[0].__qualname__) != identity:
            raise UserError(
                f"a provider named {lookup_name!r} is registered already "
                f"({taken[0].__module__}.{taken[0].__qualname__}); choose another lookup_name"
            )
        _PROVIDERS[lookup_name] = (cls, dict(init_args or {}))
        return cls

    return register


def lookup_provider(lookup_name: str) -> Provider:
    """Makes the provider that was registered under a name.

    Raises:
        UserError: if there is none; the message names the registered ones.
    """
    if lookup_name not in _PROVIDERS:
        known = ", ".join(sorted(_PROVIDERS)) or "none"
        raise UserError(
            f"no provider is registered as {lookup_name!r} (registered: {known}); "
            "load the file that registers it, with --provider_module=FILE.py"
        )
    cls, init_args = _PROVIDERS[lookup_name]
    return cls(**init_args)
