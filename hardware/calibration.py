"""The codes of one chip that hit given targets, kept with the identity of that chip."""

import dataclasses
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, UInt32

from eventprop.failures import error_if
from eventprop.parameters import check_type, is_concrete
from hardware.codes import Codes
from hardware.device import AbstractDevice

_OTHER_CHIP = "this is the calibration of another chip: calibrate this one, or load its own file."


class Calibration(eqx.Module):
    """Codes, and how well they do on the chip that they belong to.

    codes: what `configure` takes. residuals: measured minus target of each circuit, by the target's name, in its unit
    (relative for time constants and strengths). success: whether all residuals of a circuit are within tolerance.
    identity: of the chip.
    """

    codes: Codes
    residuals: dict[str, Float[Array, "*chips circuits"]]
    success: Bool[Array, "*chips circuits"]
    identity: UInt32[Array, "*chips 2"]

    @classmethod
    def from_codes(cls, codes: Codes, device: AbstractDevice) -> "Calibration":
        """Codes that somebody else has found for this chip: nothing has been measured, all circuits count as good.

        Raises ValueError for a device that is no chip, and for codes of another number of circuits.
        """
        if device.identity is None:
            raise ValueError(
                f"{type(device).__name__} is no chip that codes could belong to: Experiment needs none for it."
            )
        check_type("codes", codes, Codes)
        success = jnp.ones(jnp.shape(codes.leak), bool)
        return cls(codes.check().of_size(device.limits), {}, success, jnp.asarray(device.identity))

    def of(self, device: AbstractDevice) -> "Calibration":
        """The same. Raises ValueError if the device is another chip; where only values tell, an error when it runs."""
        mine, other = self.identity, device.identity
        if is_concrete(mine) and is_concrete(other):
            if not np.array_equal(mine, other):
                raise ValueError(f"{_OTHER_CHIP} (It is of {np.asarray(mine)}, the device is {np.asarray(other)}.)")
            return self
        return dataclasses.replace(self, codes=error_if(self.codes, jnp.any(mine != other), _OTHER_CHIP))

    def save(self, path: str | Path) -> None:
        """Write a NumPy archive (.npz): codes, residuals, success and the chip's identity."""
        codes = {f"codes/{field.name}": getattr(self.codes, field.name) for field in dataclasses.fields(Codes)}
        residuals = {f"residuals/{name}": value for name, value in self.residuals.items()}
        arrays: dict[str, Any] = codes | residuals | {"success": self.success, "identity": self.identity}
        with Path(path).open("wb") as file:
            np.savez_compressed(file, **jax.tree.map(np.asarray, arrays))

    @classmethod
    def load(cls, path: str | Path, device: AbstractDevice) -> "Calibration":
        """Read what `save` has written. Raises ValueError if it is of another chip than `device`, or not whole."""
        try:
            with np.load(path) as file:
                arrays = dict(file)
        except (ValueError, TypeError, EOFError, BadZipFile) as error:
            raise ValueError(f"{path} is no calibration: it is no archive that `save` has written.") from error
        names = [field.name for field in dataclasses.fields(Codes)]
        missing = [name for name in names if f"codes/{name}" not in arrays]
        if missing or not {"success", "identity"} <= set(arrays):
            raise ValueError(f"{path} is no calibration: {missing or 'success or identity'} is missing.")
        _check_arrays(path, arrays)
        codes = Codes(**{name: jnp.asarray(arrays[f"codes/{name}"], float) for name in names})
        prefix = "residuals/"
        residuals = {
            name.removeprefix(prefix): jnp.asarray(value, float)
            for name, value in arrays.items()
            if name.startswith(prefix)
        }
        rest = jnp.asarray(arrays["success"]), jnp.asarray(arrays["identity"])
        found = cls(codes.check().of_size(device.limits), residuals, *rest)
        return found if device.identity is None else found.of(device)


def _check_arrays(path: Any, arrays: dict[str, np.ndarray]) -> None:
    """Raise ValueError for arrays of kinds and shapes that `save` does not write."""
    chips = arrays["codes/leak"].shape[:-1]
    for name, array in arrays.items():
        kind, shape = np.floating, (*chips, array.shape[-1] if array.ndim else 0)
        if name == "success":
            kind, shape = np.bool_, arrays["codes/leak"].shape
        elif name == "identity":
            kind, shape = np.uint32, (*chips, 2)
        if not np.issubdtype(array.dtype, kind) or array.shape != shape:
            raise ValueError(
                f"{path} is damaged: its {name} are {array.dtype} of shape {array.shape}, but {kind.__name__} of "
                f"{shape} belong there."
            )
