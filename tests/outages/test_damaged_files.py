"""Files in a grid's directory are damaged behind the gateway's back: clients get the right bytes, and the copy is repaired.

Bodies that all grids hold are not kept in the index here, so every read comes from a directory.
"""

from tests.outages.conftest import Make
from tests.outages.damage import DAMAGES, flip, flip_last, replace_by_full_folder
from tests.outages.gateway import until
from tests.outages.staging import away
from tests.outages.test_folder_outages import assert_both_match
from tests.outages.workload import SIZES, Failure

SCRUBBED = '[cache]\ninline = "0"\n[scrub]\ninterval = "2s"\n'
"""Copies that no read meets are found by the scrub: those that are read second, and those of a grid that gave wrong bytes several
times in a row, which is asked after the others for a while."""


def test_every_kind_of_damage_to_every_kind_of_body_is_survived_and_repaired(run: Make) -> None:
    gateway, workload = run(SCRUBBED)
    made = {f"{kind}/{number}/body": damage for number, damage in enumerate(DAMAGES.values()) for kind in SIZES}
    for key in made:
        workload.put(key, key.partition("/")[0])
    gateway.until_trimmed()
    files = gateway.places["a"] / "witnessed"
    for key, damage in made.items():
        damage(files / key)
    for _ in range(2):
        workload.check_all()
    workload.assert_untroubled()
    blocked = {key for key, damage in made.items() if damage is replace_by_full_folder}
    # Where something else took the plain path, the copy lies in the hard tree instead.
    plain = {key: data for key, data in workload.content().items() if key not in blocked}

    def wrong() -> list[str]:
        found = {key: data for key, data in gateway.files("a").items() if not key.endswith("/stray")}
        return sorted(key for key in found.keys() | plain.keys() if found.get(key) != plain.get(key))

    def repaired() -> bool:
        gateway.until_paid()
        return not wrong()

    until(repaired, lambda: f"these copies were not repaired: {wrong()}\n{gateway.status()}\n{gateway.log()}")
    content = workload.content()
    assert gateway.grid("a")["held"] == len(content)
    with away(gateway.places["b"]):
        workload.check_all()
    workload.assert_untroubled()


def test_damage_on_different_grids_is_repaired_from_one_another(run: Make) -> None:
    gateway, workload = run(SCRUBBED)
    keys = workload.fill("k", each=4)
    gateway.until_trimmed()
    for number, key in enumerate(keys):
        flip_last(gateway.places["ab"[number % 2]] / "witnessed" / key)
    with workload.load() as load:
        load.await_answers(40)
        workload.check_all()
    gateway.until_paid()

    def whole() -> bool:
        content = workload.content()
        return all(gateway.files(name) == content for name in gateway.places)

    until(whole, lambda: f"a damaged copy was not found: {gateway.status()}")
    gateway.until_paid()
    for place in gateway.places.values():
        with away(place):
            workload.check_all()
    gateway.until_paid()
    workload.assert_untroubled()
    assert_both_match(gateway, workload)


def test_damage_to_both_copies_is_503_and_never_wrong_bytes_or_404(run: Make) -> None:
    gateway, workload = run()
    keys = workload.fill("k", each=1)
    gateway.until_trimmed()
    for key in keys:
        for place in gateway.places.values():
            flip(place / "witnessed" / key)
    for key in keys:
        for _ in range(2):
            try:
                workload.get(key)
            except Failure as failure:
                # A body of several blocks may begin: then it is cut off where its damage begins.
                begun = failure.status == 0 and key.split("/")[1] in ("large", "parts")
                assert begun or (failure.status, failure.code) == (503, "ServiceUnavailable"), failure
                assert begun or int(failure.headers["retry-after"]) > 0
                continue
            raise AssertionError(f"{key} was served although no copy is intact")
        workload.head(key)
    workload.listing()
    workload.assert_faithful()
    until(lambda: gateway.status()["owed"] == 2 * len(keys), lambda: gateway.status())
    for key in keys:
        workload.put(key, key.split("/")[1])
    gateway.until_paid()
    workload.check_all()
    workload.assert_faithful()
    assert_both_match(gateway, workload)
