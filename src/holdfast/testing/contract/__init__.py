"""The contract of `Grid` as checks that any grid can be put to.

Answers for each guarantee that `grids/grid.py` states. The tests run all of them on every grid and wrapper; `certify` runs them
for an operator. Invariant: every guarantee has a row here.
"""

from typing import Final

from holdfast.testing.contract import keys, objects
from holdfast.testing.contract.check import Broken, Check, Make, NotApplicable

CHECKS: Final = tuple(
    Check(body)
    for body in (
        objects.absent_is_said_of_what_is_not_there,
        objects.bodies_of_every_size_come_back,
        objects.streamed_bodies_come_back,
        objects.large_bodies_come_back,
        objects.staged_bytes_are_invisible,
        objects.discard_forgets,
        objects.a_failed_stage_leaves_nothing,
        objects.publish_replaces,
        objects.if_match_gives_that_copy_or_none,
        objects.spans_are_exact,
        objects.downloads_can_be_left,
        objects.a_reader_sees_one_version,
        objects.readers_and_writers_do_not_mix,
        objects.many_at_once_all_arrive,
        keys.delete_is_idempotent,
        keys.delete_spares_the_neighbours,
        keys.deletes_at_once_take_exactly_their_keys,
        keys.hard_keys_are_kept,
        keys.a_key_may_be_the_beginning_of_another,
        keys.keys_of_1024_bytes_are_kept,
        keys.lists_are_in_byte_order,
        keys.lists_say_what_head_says,
        keys.an_unknown_bucket_is_empty,
        keys.labels_are_kept,
        keys.copies_are_whole_and_exact,
        keys.a_place_in_use_is_not_given_away,
    )
)

__all__ = ["CHECKS", "Broken", "Check", "Make", "NotApplicable"]
