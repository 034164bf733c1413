"""How many keys a chunk takes, by the planner's opinion and by what chunks have taken (R7)."""

from __future__ import annotations

from reconcile.pace import Pace


def run(pace: Pace, fixed: float, each: float, chunks: int = 30) -> list[float]:
    """Seconds of chunk after chunk, where one takes `fixed` and so much for each key."""
    taken = []
    for _ in range(chunks):
        seconds = fixed + each * pace.keys
        taken.append(seconds)
        pace.learn(pace.keys, seconds)
    return taken


def test_r7_a_planner_that_is_wrong_makes_no_long_chunks() -> None:
    """It thinks that most of a chunk's cost is fixed; in truth twenty microseconds a key are all of it."""
    pace = Pace(2_000)
    pace.expect((1_000, 90_000.0), (16_000, 100_000.0))
    assert pace.fewest > 300_000
    taken = run(pace, 0.0, 20e-6)
    assert max(taken) < 1.0
    assert 0.25 < taken[-1] < 0.75


def test_r7_a_chunk_that_goes_another_way_is_given_up_in_time() -> None:
    """As of five million rows: up to 60,000 keys are looked up one by one, beyond that a source is read whole."""
    pace = Pace(2_000)
    pace.expect((1_000, 90_000.0), (16_000, 100_000.0))
    taken, given_up = [], 0
    for _ in range(60):
        seconds = 10e-6 * pace.keys if pace.keys <= 60_000 else 3.0 + 4e-6 * pace.keys
        limit = pace.limit(pace.keys)
        if limit is not None and seconds > limit:
            taken.append(limit)
            given_up += 1
            pace.given_up(pace.keys)
        else:
            taken.append(seconds)
            pace.learn(pace.keys, seconds)
    assert max(taken) < 1.0
    assert 0 < given_up < 6
    assert pace.keys > 40_000


def test_r7_what_was_in_time_is_not_given_up_for_a_loaded_machine() -> None:
    pace = Pace(2_000)
    assert pace.limit(2_000) is not None, "nothing is known yet"
    pace.learn(2_000, 0.1)
    assert pace.limit(2_000) is None
    assert pace.limit(pace.keys) is not None
    pace.learn(10_000, 0.5)
    pace.learn(10_000, 3.0)
    assert pace.limit(10_000) is None


def test_where_even_a_first_chunk_takes_long_the_following_take_their_time() -> None:
    pace = Pace(24_000)
    assert pace.limit(24_000) is not None
    pace.given_up(24_000)
    assert pace.too_many(24_000)
    assert pace.limit(pace.keys) is None


def test_the_small_end_of_a_range_says_nothing_of_larger_ones() -> None:
    pace = Pace(2_000)
    pace.learn(2_000, 0.02)
    keys = pace.keys
    pace.learn(17, 0.001)
    assert pace.keys == keys


def test_r7_where_postgres_turns_to_reading_a_source_whole_chunks_stay_below() -> None:
    """As of five million rows: keys are looked up one by one, up to 60,000 of them; then a hash is built in three seconds."""
    pace = Pace(2_000)
    pace.expect((1_000, 90_000.0), (16_000, 100_000.0))
    taken = []
    for _ in range(40):
        seconds = 10e-6 * pace.keys if pace.keys <= 60_000 else 3.0 + 4e-6 * pace.keys
        taken.append(seconds)
        pace.learn(pace.keys, seconds)
    assert sum(seconds > 1 for seconds in taken) < 6
    assert max(taken[20:]) < 1.0
    assert pace.keys > 40_000


def test_a_source_that_every_chunk_reads_whole_is_read_seldom() -> None:
    """The planner is right: chunks of a few keys would take two seconds as well."""
    pace = Pace(2_000)
    pace.expect((1_000, 90_000.0), (16_000, 90_600.0))
    taken = run(pace, 2.0, 4e-6)
    assert pace.keys > 200_000
    assert max(taken) < 5.0


def test_a_chunk_grows_to_the_time_that_it_should_take() -> None:
    pace = Pace(2_000)
    pace.expect((1_000, 10.0), (16_000, 160.0))
    assert pace.keys == 2_000
    taken = run(pace, 0.001, 2e-6)
    assert taken[0] < 0.01
    assert 0.4 < taken[-1] < 0.6
    assert max(taken) < 0.6


def test_the_first_chunk_of_a_throttled_pass_is_small() -> None:
    pace, throttled = Pace(2_000), Pace(2_000, aim=0.1)
    for each in (pace, throttled):
        each.expect((1_000, 90_000.0), (16_000, 100_000.0))
    assert (pace.keys, throttled.keys) == (24_000, 4_800)
