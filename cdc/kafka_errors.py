"""What kafka-python raises, as this service's errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kafka import errors as kafka_errors

from sql.errors import CutoverError, Gap, Refused, Unreachable, UsageError

_GONE = (
    kafka_errors.OffsetOutOfRangeError,
    kafka_errors.LogTruncationError,
    kafka_errors.UnknownTopicOrPartitionError,
    kafka_errors.UnknownTopicIdError,
    kafka_errors.InconsistentTopicIdError,
    kafka_errors.CorruptRecordError,
)
_FORBIDDEN = (
    kafka_errors.AuthorizationError,
    kafka_errors.SaslAuthenticationFailedError,
    kafka_errors.UnsupportedSaslMechanismError,
    kafka_errors.PolicyViolationError,
    kafka_errors.InvalidConfigurationError,
    kafka_errors.InvalidReplicationFactorError,
)


def passing(error: BaseException) -> bool:
    """May the same question be answered in a moment? During restarts and elections it is; never of what is gone."""
    return getattr(error, "retriable", False) and not isinstance(error, _GONE)


def as_cutover(error: BaseException, address: str, doing: str) -> CutoverError:
    """The error to raise for `error`, met at `address` (without secrets) while `doing` something.

    Gap for records or topics that are not there, Refused for what the broker forbids, else Unreachable.
    """
    if isinstance(error, CutoverError):
        return error
    name = type(error).__name__
    said = str(error).removeprefix(name).lstrip(": ")  # without a text of its own it says its name
    text = f"{address}: {doing}: {name}" + (f": {said}" if said else "")
    if isinstance(error, _GONE):
        return Gap(text, cure="cutover heal")
    if isinstance(error, _FORBIDDEN):
        return Refused(text, cure="check the credentials, the ACLs and the policies of the Kafka cluster")
    if isinstance(error, kafka_errors.InvalidTopicError):
        return UsageError(text, cure="topic names are up to 249 letters, digits, '.', '_' and '-'")
    return Unreachable(text, cure="check that the brokers run and that the address is right, then try again")


@contextmanager
def translated(address: str, doing: str) -> Iterator[None]:
    """Raise what kafka-python raises inside as this service's errors."""
    try:
        yield
    except (kafka_errors.KafkaError, OSError, ValueError, RuntimeError, AssertionError) as error:
        raise as_cutover(error, address, doing) from error
