"""Error correction of the pixel mark: a check, and a convolutional code read softly.

The code is the one of rate 1/2 and constraint length 7 with generators 171 and 133 (octal) that the CCSDS standardises
(131.0-B, "TM Synchronization and Channel Coding", section 3), ended by six zeros; it is read by the Viterbi algorithm
(Viterbi 1967) with correlations for branch metrics. The check is CRC-16/CCITT-FALSE (ITU-T V.41's polynomial 0x1021).
"""

from __future__ import annotations

import binascii
from functools import lru_cache

import numpy as np

PAYLOAD_BITS, CHECK_BITS = 32, 16
MEMORY = 6
GENERATORS = (0o171, 0o133)
CODE_BITS = len(GENERATORS) * (PAYLOAD_BITS + CHECK_BITS + MEMORY)
"""Length of a codeword: 108."""


def encode_payload(payload: int) -> np.ndarray:
    """The codeword of a payload.

    Args:
        payload: 0 to 2^32 - 1.

    Returns:
        float32 (108,), each -1 or 1.

    Raises:
        ValueError: The payload does not fit.
    """
    if not 0 <= payload < 2**PAYLOAD_BITS:
        raise ValueError(f"payload {payload} is not within {PAYLOAD_BITS} bits")
    bits = _bits(payload, PAYLOAD_BITS) + _bits(_check(payload), CHECK_BITS) + [0] * MEMORY
    state, coded = 0, []
    for bit in bits:
        coded += _outputs()[state, bit].tolist()
        state = (state >> 1) | (bit << (MEMORY - 1))
    return np.array(coded, np.float32)


def decode_payload(soft: np.ndarray) -> int | None:
    """The payload of the codeword nearest to what was received, or None where its check does not hold.

    Args:
        soft: float (108,), the more positive the surer of 1, the more negative of -1.
    """
    if not np.any(soft):
        return None
    states = np.arange(2**MEMORY)
    before = (states[:, None] << 1 & (2**MEMORY - 1)) | np.array([0, 1])  # both predecessors of each state
    entered = states >> (MEMORY - 1)  # the bit that led here
    gains = _outputs()[before, entered[:, None]]
    score = np.where(states == 0, 0.0, -np.inf)
    chosen = []
    for pair in soft.reshape(-1, len(GENERATORS)):
        reached = score[before] + gains @ pair
        best = reached.argmax(1)
        score = reached[states, best]
        chosen.append(before[states, best])
    return _checked(_walk_back(chosen))


def _walk_back(chosen: list[np.ndarray]) -> list[int]:
    """The bits of the best path that ends in state 0."""
    state, bits = 0, []
    for previous in reversed(chosen):
        bits.append(state >> (MEMORY - 1))
        state = int(previous[state])
    return bits[::-1][: PAYLOAD_BITS + CHECK_BITS]


def _checked(bits: list[int]) -> int | None:
    number = int("".join(map(str, bits)), 2)
    payload, check = number >> CHECK_BITS, number & (2**CHECK_BITS - 1)
    return payload if check == _check(payload) else None


def _check(payload: int) -> int:
    """CRC-16 of the payload's bytes; it begins with ones, so that the empty payload has no empty check."""
    return binascii.crc_hqx(payload.to_bytes(PAYLOAD_BITS // 8, "big"), 0xFFFF)


def _bits(number: int, count: int) -> list[int]:
    return [number >> place & 1 for place in reversed(range(count))]


@lru_cache(maxsize=1)
def _outputs() -> np.ndarray:
    """float32 (64, 2, 2): what is sent in a state for a bit, -1 or 1 for each generator."""
    registers = np.arange(2**MEMORY)[:, None] | (np.array([0, 1]) << MEMORY)
    parities = [[[(int(r) & g).bit_count() % 2 for g in GENERATORS] for r in row] for row in registers]
    return np.array(parities, np.float32) * 2 - 1
