"""`make chaos`: about ten minutes of random faults, half of it over each log. Exits 0 only if nothing was lost.

A seed gives the schedule; when each fault meets the stream is the machine's own doing.
"""

from __future__ import annotations

import argparse
import secrets
import sys

from tests.chaos.run import Outcome, run

LOGS = ("sqlite", "kafka")


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000), help="default: a random one")
    parser.add_argument("--seconds", type=float, default=540, help="of faults, over all logs (default %(default)s)")
    parser.add_argument("--faults", type=int, default=300, help="at most, over all logs (default %(default)s)")
    parser.add_argument(
        "--least", type=int, default=200, help="go on for them, half as long again at most (default %(default)s)"
    )
    parser.add_argument("--log", choices=(*LOGS, "both"), default="both")
    parser.add_argument("--postgres", type=int, choices=(15, 18), default=15)
    parser.add_argument("--only", default="", help="faults whose names contain this")
    given = parser.parse_args()
    logs = LOGS if given.log == "both" else (given.log,)
    count, seconds, least = given.faults // len(logs), given.seconds / len(logs), given.least // len(logs)
    print(f"seed {given.seed}", flush=True)
    outcomes = []
    for log in logs:
        print(f"chaos over {log}, PostgreSQL {given.postgres}", flush=True)
        outcomes.append(run(log, given.seed, count, seconds, given.postgres, given.only, _say, least))
        print(render(outcomes[-1]), flush=True)
    failed = [each for each in outcomes if not each.ok]
    for each in failed:
        print(
            f"FAILED. Again: make chaos ARGS='--seed {each.seed} --log {each.log} --faults {count}"
            f" --seconds {seconds:g} --least {least} --postgres {given.postgres}{f' --only {given.only!r}' if given.only else ''}'"
        )
    print(
        f"{sum(sum(each.faults.values()) for each in outcomes)} faults, lost {sum(len(each.lost) for each in outcomes)}"
    )
    return 1 if failed else 0


def render(outcome: Outcome) -> str:
    """The figures of a run, as text."""
    seconds, after = outcome.longest
    lines = [
        f"over {outcome.log}, seed {outcome.seed}: {sum(outcome.faults.values())} faults in {outcome.seconds:.0f} s",
        *(f"  {count:>4}  {kind}" for kind, count in sorted(outcome.faults.items())),
        f"changes acknowledged  {outcome.acknowledged:,} in {outcome.transactions:,} transactions"
        f" ({outcome.unknown} commits asked for afterwards)",
        f"keys lost             {len(outcome.lost)}",
        f"keys applied          {outcome.applied:,}",
        f"dead letters          {outcome.dead_letters}",
        f"longest recovery      {seconds:.1f} s, after: {after}",
        f"processes started     {outcome.starts}, {outcome.in_vain} of them while a server was away,"
        f" {outcome.refused} ended at a gap;"
        f" ended by themselves: {len(outcome.falls)}",
        f"reconcile             exit {outcome.reconcile}",
    ]
    for fall in outcome.falls[:10]:
        lines += [f"fell: {fall.name}, exit code {fall.code}", *(f"    {line[:400]}" for line in list(fall.said)[-4:])]
    lines += [f"lost: {key}" for key in outcome.lost[:20]]
    if outcome.trouble:
        lines.append(f"trouble: {outcome.trouble}")
    return "\n".join(lines)


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
