"""Distillation: several teachers say how probable every tag of much text is, and one small student learns that.

A student of the teachers' probabilities is better than one of the annotation alone (Hinton et al., 2015; for tag paths:
Wang et al., 2020, Structure-Level Knowledge Distillation for Multilingual Sequence Labeling). The folder `OUT.distil`
holds `texts.jsonl.gz`, the texts that are taught beside the labelled ones; `teacher_N`, the teachers, where none are
given; `posteriors`, what they believe of all texts; and `student`, its bundle.
"""

import dataclasses
import itertools
import shutil
from pathlib import Path
from typing import Any

from tagger import bundle as bundles
from tagger import corpus
from tagger.config import Config, over
from tagger.errors import ConfigError, TrainingError
from tagger.files.outputs import atomic_folder, check_writable, locked
from tagger.learning.automatic import kept_kind
from tagger.learning.checks import check_corpora
from tagger.learning.device import use_device
from tagger.learning.posteriors import Ensemble, write_posteriors
from tagger.learning.preparation import lists_of
from tagger.learning.run import Sources, claim, clear, finish, read_record
from tagger.learning.start import NETWORK, NEW, begun, fitting, paying
from tagger.learning.training import train
from tagger.learning.unlabelled import Disk, gather_unlabelled
from tagger.pipeline import Tagger
from tagger.progress import Stages, bar
from tagger.settings import merge
from tagger.tags import TagScheme


def distil(config: Config, sources: Sources, out: Path, resume: bool = False, replace: bool = False) -> dict[str, Any]:
    """Train a student of several teachers and write its bundle.

    All that is made on the way is kept in `OUT.distil`. An interrupted run continues with `resume` where it was, and
    ends with the weights it would have had.

    Args:
        config: All settings of the student; `distil.teacher` changes them for the teachers that are made.
        sources: The files to read; they are streamed. Where it names no `teachers`, they are trained first, from the
            same files.
        out: The bundle's folder.
        resume: Continue an interrupted run; start one if there is none.
        replace: Whether an existing bundle, and what was made for it, may be replaced.

    Returns:
        What `training.train` returns for the student.

    Raises:
        TaggerError: If a file, a setting, a teacher or the output folder is at fault.
    """
    if config.text.unit != "char":
        raise ConfigError('tagger distil needs a student with text.unit = "char"; its teachers may have words')
    check_writable(out, replace, sources.paths, folder=True)
    folder = out.with_name(out.name + ".distil")
    with locked(folder, "training"):
        if replace and not resume:
            clear(folder)
        labels = check_corpora(sources.train, sources.dev)
        for teacher in sources.teachers:
            _require_labels(teacher, labels, sources.train)
        claim(folder, config, sources, resume, "teacher_*", "posteriors", "student*")
        kind = kept_kind(folder, use_device(config.training).kind)
        return _distil(config, sources, labels, out, folder, replace, kind)


def _require_labels(teacher: Path, labels: tuple[str, ...], train: Path) -> None:
    """Check that a teacher knows what the student is to know, and nothing else."""
    theirs = bundles.load(teacher).scheme.labels
    if set(theirs) != set(labels):
        expected, received = (", ".join(sorted(names)) for names in (labels, theirs))
        raise TrainingError(
            f"{teacher}: expected a teacher with the labels of {train} ({expected}), received one with others "
            f"({received}); leave it out, or rename labels in the corpus"
        )


_GATHERING, _TEACHING, _STUDENT = "further texts", "what the teachers believe", "student"  # stages


def _distil(
    config: Config,
    sources: Sources,
    labels: tuple[str, ...],
    out: Path,
    folder: Path,
    replace: bool,
    kind: str,
) -> dict[str, Any]:
    """Distil as `distil` does, in a folder that is locked."""
    settled, begin = begun(config, sources, folder, lambda: paying(sources.train, labels))  # of the student
    made = range(0 if sources.teachers else config.distil.teachers)
    teachers = [*sources.teachers, *(folder / f"teacher_{number + 1}" for number in made)]
    steps = [teaching_step(number, config, sources, teachers) for number in made]  # a fault in any shows at once
    stages = Stages([_GATHERING, *map(_title, made), _TEACHING, _STUDENT])
    texts = folder / "texts.jsonl.gz" if sources.unlabelled or config.distil.exchanged else None
    if texts and not texts.exists():
        stages.begin(_GATHERING)
        disk = Disk(steps[0][0] if steps else settled, len(made) + 3, copies=4)
        given = config.distil
        gather_unlabelled(sources, given.characters, config.training.seed, disk, texts, given.exchanged)
    for number, step in enumerate(steps):

        def run(bundle: Path, step: tuple[Config, Sources] = step) -> None:
            train(*step, bundle, resume=True, stages=Stages(), kind=kind)

        finish(teachers[number], _title(number), run, stages)
    posteriors = folder / "posteriors"
    if not (folder / "student").exists():
        stages.begin(_TEACHING)
        taggers = [Tagger.load(path, "int8") for path in teachers]
        ensemble = Ensemble(taggers, TagScheme(labels), config.distil.temperature)
        documents = itertools.chain(
            corpus.read(sources.train), lists_of(sources.train, config), corpus.read(texts) if texts else ()
        )
        write_posteriors(ensemble, bar(documents, desc="teaching", unit=" texts"), posteriors)
        stages.end()

    def learn(bundle: Path) -> None:
        vectors = begin.vectors or (teachers[0] if steps and steps[0][0].text == config.text else None)
        settings, own = student_step(settled, begin, texts, posteriors, vectors)
        train(settings, own, bundle, resume=True, stages=Stages(), kind=kind)

    finish(folder / "student", _STUDENT, learn, stages)
    with atomic_folder(out, replace) as part:
        shutil.copytree(folder / "student", part, dirs_exist_ok=True)
    metrics: dict[str, Any] = read_record(out / "metrics.json")
    return metrics


def _title(number: int) -> str:
    return f"teacher {number + 1}"


def _kinds(config: Config) -> list[str]:
    """Return the preset, or TOML file, by which each teacher is trained."""
    kinds = itertools.cycle(config.distil.teacher.split(","))
    return [kind.strip() for kind in itertools.islice(kinds, config.distil.teachers)]


def teaching_step(number: int, config: Config, sources: Sources, teachers: list[Path]) -> tuple[Config, Sources]:
    """Return settings and files of the training of a teacher.

    One of the general tagger's sizes begins with it, unless the settings say otherwise: it then knows other things than
    those that learn from these texts alone, and it is what teachers do not share that they add. Of the others, those of
    one kind use the vectors of the first.
    """
    kinds = _kinds(config)
    settings = over(config, kinds[number])
    start = fitting(settings, NETWORK if config.training.start == "auto" else config.training.start)
    own = {"training": {"seed": config.training.seed + number, "start": start}}
    settings = merge(settings, own, "distil.teachers")
    first = kinds.index(kinds[number])
    alike = start == NEW and first < number
    return settings, dataclasses.replace(sources, vectors=teachers[first]) if alike else sources


def _less_dropout(config: Config) -> dict[str, dict[str, float]]:
    """Return the dropout of a student of more than the labelled texts, as settings by section."""
    share, model = config.distil.dropout, config.model
    return {
        "model": {"dropout": share * model.dropout, "output_dropout": share * model.output_dropout},
        "batches": {"word_dropout": share * config.batches.word_dropout},
    }


def student_step(
    config: Config, sources: Sources, texts: Path | None, posteriors: Path, vectors: Path | None
) -> tuple[Config, Sources]:
    """Return settings and files of the training of the student.

    Args:
        config: All settings.
        sources: Of the run.
        texts: Those that are taught beside the labelled ones, if there are any.
        posteriors: What the teachers believe.
        vectors: The teacher whose vectors the student uses, as far as its settings go; None to learn its own.
    """
    if config.distil.epochs != "auto":
        config = merge(config, {"training": {"epochs": config.distil.epochs}}, "distil.epochs")
    if texts:
        config = merge(config, _less_dropout(config), "distil.dropout")
    own = dataclasses.replace(
        sources, predicted=texts, weight=config.distil.weight, posteriors=posteriors, vectors=vectors, teachers=()
    )
    return config, own
