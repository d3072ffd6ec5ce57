"""Proves a log, from its files and a public key alone; and names the place of whatever is wrong.

Three things are compared: the records as they are, their hashes as they were noted when they were written, and the signed
checkpoints. Records that lead to the signed roots are proven. Where they do not and the noted hashes do, the hashes are
proven, and their difference to the records is exactly what somebody did. Where neither does, the records from the last
checkpoint that fits to the first that does not were rewritten.

What a log cannot prove by itself is that it is not an older state of itself, or another one: for that somebody else must
have kept a checkpoint, a receipt of a command or an anchor. One is enough, the newer the better.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from observe.audit import segments as files
from observe.audit.faults import GRAVITY, Fault, Kind, compare
from observe.audit.keyring import Keyring, rotations_of
from observe.audit.merkle import Peaks, leaf_hash
from observe.audit.notes import BadNote, Checkpoint, Verifier, WrongKey, read_note, read_notes
from observe.audit.record import Record
from observe.audit.segments import Segment


@dataclass(slots=True)
class Report:
    """What a verification found."""

    records: int = 0
    """How many records the log has, removed ones included."""
    kept: int = 0
    """How many of them are still there."""
    signed: int = 0
    """Up to which record a checkpoint of the log covers it."""
    segments: int = 0
    anchors: int = 0
    """How many checkpoints from elsewhere were compared."""
    key: str = ""
    """The public key by which it was checked."""
    trusted: bool = False
    """Whether that key was given, and not taken from beside the log."""
    faults: list[Fault] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    """What a reader should know though nothing is wrong: which keys were given up, and why."""

    @property
    def verdict(self) -> Kind | None:
        """The fault that says most; None when all is well."""
        kinds = {one.kind for one in self.faults}
        return next((kind for kind in GRAVITY if kind in kinds), None)

    @property
    def exit_code(self) -> int:
        """0 when all is well."""
        return self.verdict.value if self.verdict else 0


def verify(directory: Path, key: Verifier | None = None, anchors: Iterable[str] = ()) -> Report:
    """Look at all files of a log. `anchors` are checkpoints (signed notes) that were kept elsewhere.

    Raises:
        OSError: the files cannot be read.
        BadNote: no key is given and none is beside the log, though something is signed; or an anchor is no checkpoint.
    """
    trusted, kept = key is not None, list(anchors)
    if key is None:
        try:
            key = Verifier.parse((directory / files.VKEY).read_text())
        except FileNotFoundError:
            if kept or any(one.read_notes() for one in files.segments(directory)):
                raise BadNote(f"there is no {files.VKEY} in {directory}: give the log's public key") from None
            # Nothing was ever signed, or all of it was taken away: a finding like others, and no fault of who asks.
            report = _Verification(directory, Verifier("", b""), kept, trusted).run()
            report.key = ""
            return report
    return _Verification(directory, key, kept, trusted).run()


class _Verification:
    def __init__(self, directory: Path, key: Verifier, anchors: Sequence[str], trusted: bool) -> None:
        self._directory = directory
        known, self._recorded = rotations_of(directory) if directory.is_dir() else ([], frozenset[str]())
        self._key = Keyring(key, known)
        self._report = Report(key=self._key.newest.vkey, trusted=trusted, anchors=len(anchors))
        self._peaks = Peaks()
        self._fits = 0
        """Up to which size the records are known to be as signed."""
        self._last_seq = 0
        """The number that the last record read gives itself; 0 when it gives none."""
        self._own: list[tuple[Segment, int, Checkpoint]] = []
        self._anchors: list[Checkpoint] = []
        for note in anchors:
            try:
                self._anchors.append(self._key.open(note))
            except WrongKey as error:
                self._fault(Kind.WRONG_KEY, "", 0, 0, f"an anchor: {error}")
            except BadNote as error:
                read_note(note)
                self._fault(Kind.FORGED, "", 0, 0, f"an anchor: {error}")
        self._removed: set[int] = set()
        self._gone: list[Segment] = []
        self._is_live = files.is_being_written(directory)

    def run(self) -> Report:
        report = self._report
        found = files.segments(self._directory) if self._directory.is_dir() else []
        report.segments = sum(one.records.exists() for one in found)
        for segment in found:
            self._read_notes(segment)
        for at, segment in enumerate(found):
            self._segment(segment, at == len(found) - 1)
        report.records = self._peaks.size
        for segment in self._gone:
            if segment.first not in self._removed:
                text = f"the records of {segment.records.name} are missing, and the log does not say that it removed them"
                self._fault(Kind.REMOVED, segment.records.name, 0, segment.first, text)
        self._end()
        tell_keys(report, self._key)
        self._statements(found)
        report.faults.sort(key=lambda one: (one.record, one.kind.value))
        return report

    def _fault(self, kind: Kind, file: str, line: int, record: int, text: str) -> None:
        self._report.faults.append(Fault(kind, file, line, record, text))

    # -- checkpoints ----------------------------------------------------------------------------------------------------

    def _read_notes(self, segment: Segment) -> None:
        name = segment.notes.name
        try:
            for number, checkpoint in enumerate(read_notes(segment.read_notes()), start=1):
                self._own.append((segment, number, checkpoint))
        except BadNote as error:
            self._fault(Kind.FORGED, name, 0, 0, f"{name}: {error}")

    def _own_of(self, segment: Segment) -> list[tuple[int, Checkpoint]]:
        return [(number, one) for where, number, one in self._own if where == segment]

    def _is_ours(self, segment: Segment, number: int, checkpoint: Checkpoint) -> bool:
        """Whether a checkpoint of the log is signed by its key. Tells when it is not."""
        name = segment.notes.name
        try:
            self._key.open(checkpoint.note)
        except WrongKey as error:
            self._fault(Kind.WRONG_KEY, name, number, 0, f"checkpoint {number} of {name}: {error}")
        except BadNote as error:
            self._fault(Kind.FORGED, name, number, 0, f"checkpoint {number} of {name}: {error}")
        else:
            return True
        return False

    def _statements(self, found: Sequence[Segment]) -> None:
        """What follows which must be on record, where the record is still there."""
        for one in self._key.chain:
            kept = [segment for segment in found if segment.first <= one.record]
            if one.note not in self._recorded and kept and kept[-1].records.exists():
                text = f"{files.ROTATIONS} says that a key changed at record {one.record}, and that record does not"
                self._fault(Kind.FORGED, files.ROTATIONS, 0, one.record, text)

    # -- one segment ----------------------------------------------------------------------------------------------------

    def _segment(self, segment: Segment, is_last: bool) -> None:
        noted, name = segment.read_hashes(), segment.records.name
        if not segment.records.exists():
            self._gone.append(segment)
            if not noted:
                return
        if segment.first != self._peaks.size + 1:
            self._gap(segment)
        if not segment.records.exists():
            self._take(segment, noted, proven=True)
            return
        found = self._read(segment, is_last)
        same = next(
            (at for at, (one, other) in enumerate(zip(noted, found, strict=False)) if one != other),
            min(len(noted), len(found)),
        )
        if is_last and same == len(found) < len(noted):
            missing, have = len(noted) - len(found), segment.first - 1 + len(found)
            text = f"{missing} records at the end of {name} are missing"
            self._fault(Kind.CUT, name, len(found) + 1, have + 1, text)
            noted = found
        wrong, proven = self._fits_with(segment, found)
        differs = noted != found[: len(noted)] or (not is_last and bool(noted) and noted != found)
        if wrong is None and (not differs or proven > self._peaks.size + same):
            if differs:
                text = f"{segment.hashes.name} does not hold the hashes of its records, which are as signed"
                self._fault(Kind.ALTERED, segment.hashes.name, 0, segment.first + same, text)
            self._added_at_the_end(segment, noted, found, proven)
            self._take(segment, found, proven=True)
        elif differs and self._fits_with(segment, noted)[0] is None:
            for kind, place, was in compare(noted, found):
                self._fault(kind, name, place + 1, segment.first + was, _sentence(kind, name, place + 1))
            self._take(segment, noted, proven=True)
        else:
            self._take(segment, found, proven=False)

    def _read(self, segment: Segment, is_last: bool) -> list[bytes]:
        """The hashes of its records as they are."""
        found: list[bytes] = []
        last = b""
        name = segment.records.name
        for line, whole in segment.lines():
            if not whole:
                kind = Kind.TORN if is_last else Kind.ALTERED
                text = f"line {len(found) + 1} of {name} is only half there"
                self._fault(kind, name, len(found) + 1, segment.first + len(found), text)
                break
            found.append(leaf_hash(line))
            last = line
            if b'"what":"removed"' in line and b'"phase":"noted"' in line:
                self._note_removal(line)
        self._report.kept += len(found)
        self._last_seq = _seq_of(last)
        return found

    def _added_at_the_end(
        self, segment: Segment, noted: Sequence[bytes], found: Sequence[bytes], proven: int
    ) -> None:
        """One record without a hash and a checkpoint is what a crash leaves, if it is the next one. More are not, unless
        it is written now; nor is a copy of an earlier one."""
        extra = len(found) - len(noted)
        known = max(self._peaks.size + len(noted), proven)
        if not noted or extra < 1 or known >= self._peaks.size + len(found) or self._is_live:
            return
        name, line = segment.records.name, len(noted) + 1
        if extra == 1 and found[-1] in noted:
            text = _sentence(Kind.DUPLICATED, name, line)
            self._fault(Kind.DUPLICATED, name, line, segment.first + len(noted), text)
        elif extra > 1 or self._last_seq != segment.first + len(noted):
            text = f"{extra} records from line {line} of {name} on were not written by the log"
            self._fault(Kind.INSERTED, name, line, segment.first + len(noted), text)

    def _fits_with(self, segment: Segment, hashes: Sequence[bytes]) -> tuple[Checkpoint | None, int]:
        """The first checkpoint (of the segment, or one kept elsewhere) to which these hashes do not lead, or None; and
        the size of the last to which they do."""
        peaks, fits = self._peaks.copy(), 0
        by_size: dict[int, list[Checkpoint]] = {}
        for one in (*(one for _, one in self._own_of(segment)), *self._anchors):
            by_size.setdefault(one.size, []).append(one)
        for hashed in hashes:
            peaks.add(hashed)
            for one in by_size.get(peaks.size, ()):
                if one.root != peaks.root():
                    return one, fits
                fits = peaks.size
        return None, fits

    def _take(self, segment: Segment, hashes: Sequence[bytes], *, proven: bool) -> None:
        """Go on in the tree with these hashes, and tell about checkpoints that do not fit."""
        name = segment.records.name
        notes = self._own_of(segment)
        by_size: dict[int, list[tuple[int, Checkpoint]]] = {}
        for number, one in notes:
            by_size.setdefault(one.size, []).append((number, one))
        anchors: dict[int, list[Checkpoint]] = {}
        for one in self._anchors:
            anchors.setdefault(one.size, []).append(one)
        is_told = False
        for at, hashed in enumerate(hashes):
            self._peaks.add(hashed)
            size = self._peaks.size
            for number, one in by_size.get(size, ()):
                if one.root == self._peaks.root():
                    self._fits = size
                elif not is_told and not proven and self._is_ours(segment, number, one):
                    is_told = True
                    first, last = self._fits + 1, size
                    where = f"record {last}" if first == last else f"one of the records {first} to {last}"
                    text = (
                        f"{name}: {where} is not what checkpoint {number} of {segment.notes.name} has signed"
                    )
                    self._fault(Kind.REWRITTEN, name, max(1, first - segment.first + 1), first, text)
            if not is_told and any(one.root != self._peaks.root() for one in anchors.get(size, ())):
                is_told = True
                text = f"up to record {size} the log is another than the one of the checkpoint kept elsewhere"
                self._fault(Kind.FORKED, name, at + 1, size, text)
        for number, one in (notes[0], notes[-1]) if notes else ():
            self._is_ours(segment, number, one)
            if one.size == notes[-1][1].size:
                break

    def _gap(self, segment: Segment) -> None:
        """Records are missing between two segments: go on with what the next one says of the tree before it."""
        size, name = self._peaks.size, segment.records.name
        if segment.first > size + 1:
            text = f"records {size + 1} to {segment.first - 1}, before {name}, are missing"
            self._fault(Kind.REMOVED, name, 0, size + 1, text)
        else:
            text = f"{name} begins with record {segment.first}, and the records before it end with {size}"
            self._fault(Kind.INSERTED, name, 0, segment.first, text)
        try:
            header = Record.from_line(next(segment.lines())[0])
            peaks = [base64.b64decode(one) for one in header.target["peaks"]]
            self._peaks = Peaks(segment.first - 1, peaks)
        except (ValueError, KeyError, TypeError, OSError, StopIteration):
            self._peaks = Peaks()  # every checkpoint from here on will say that something is wrong

    def _note_removal(self, line: bytes) -> None:
        try:
            self._removed.add(int(Record.from_line(line).target["first"]))
        except (ValueError, KeyError, TypeError):
            pass  # told as what it is, altered

    # -- the end --------------------------------------------------------------------------------------------------------

    def _end(self) -> None:
        report, size = self._report, self._peaks.size
        own = max((one.size for _, _, one in self._own), default=0)
        report.signed = min(own, size)
        anchor = max(self._anchors, key=lambda one: one.size, default=None)
        known = max(own, anchor.size if anchor else 0)
        last = next(reversed(files.segments(self._directory)), None) if self._directory.is_dir() else None
        name = last.records.name if last is not None else ""
        kinds = {one.kind for one in report.faults}
        if size == 0:
            if known:
                text = f"there are no records, and there were {known} once"
                self._fault(Kind.EMPTIED, "", 0, 1, text)
            return
        if own == 0 and Kind.WRONG_KEY not in kinds and Kind.FORGED not in kinds:
            self._fault(Kind.UNSIGNED, name, 0, 1, f"not one of the {size} records is signed")
        line = size - last.first + 2 if last is not None else 0
        if own > size and Kind.CUT not in kinds:
            text = f"{own - size} records at the end are missing: a checkpoint of the log covers {own}"
            self._fault(Kind.CUT, name, line, size + 1, text)
        elif anchor is not None and anchor.size > size and Kind.CUT not in kinds:
            kind = Kind.ROLLED_BACK if own == size else Kind.CUT
            how = "the log is an earlier state of itself" if own == size else "its end was cut off"
            text = f"{how}: it has {size} records, and the checkpoint kept elsewhere covers {anchor.size}"
            self._fault(kind, name, line, size + 1, text)
        elif 0 < own < size:
            text = f"no checkpoint covers the last {size - own} records"
            self._fault(Kind.UNSIGNED_TAIL, name, line - (size - own), own + 1, text)


def tell_keys(report: Report, ring: Keyring) -> None:
    """Say which keys were given up, revoked or lost."""

    def fault(kind: Kind, file: str, record: int, text: str) -> None:
        report.faults.append(Fault(kind, file, 0, record, text))

    for one in ring.chain:
        at = f"at record {one.record}"
        if one.why == "routine":
            report.remarks.append(f"the key was changed {at}, and both keys have signed that")
        elif one.why == "compromised":
            text = f"the key was revoked as compromised {at}: what it alone has signed may be somebody else's"
            report.remarks.append(f"{text}; all records up to there are signed by the key that followed, too")
            if report.trusted and one in ring.ahead:
                text = f"the key that was given was revoked as compromised {at}: it cannot tell whether the next one"
                fault(Kind.KEY_REVOKED, files.VKEY, one.record, f"{text} is genuine; give that one")
    for one in (*(one for one in ring.chain if one.why == "lost"), *([ring.lost] if ring.lost else ())):
        text = f"from record {one.record} on another key signs, for which the one before has not signed: it was lost,"
        text += " or somebody replaced it"
        if report.trusted and one is not ring.lost:
            report.remarks.append(f"{text}; the key that was given follows, and vouches for what was before")
        else:
            fault(Kind.KEY_LOST, files.VKEY, one.record, text)
    for one in ring.rivals:
        text = f"a key that was given up says at record {one.record} that yet another one follows: somebody else has it"
        fault(Kind.FORGED, files.ROTATIONS, one.record, text)


def _seq_of(line: bytes) -> int:
    try:
        return Record.from_line(line).seq
    except (ValueError, KeyError, TypeError):
        return 0


def _sentence(kind: Kind, name: str, line: int) -> str:
    what = {
        Kind.ALTERED: "was changed",
        Kind.REMOVED: "comes after one or more that are missing",
        Kind.INSERTED: "was not written by the log",
        Kind.DUPLICATED: "is a copy of another",
        Kind.REORDERED: "is not in its place",
    }
    if kind is Kind.REPLACED:
        return f"all records of {name} are others than those that were written"
    return f"line {line} of {name} {what[kind]}"
