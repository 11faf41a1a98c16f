"""Self-training: a teacher tags unlabelled texts, a student learns from its confident tags, and so on, round by round.

The network is first pretrained on all texts. Round 0 trains it on the labelled ones; in each further round, the tagger
of the round before tags the unlabelled texts, and both together are trained on. The folder `OUT.transfer` holds
`texts.jsonl.gz`, the texts to be tagged; `pretrained`, the bundle that round 0 starts from; `round_N.jsonl.gz`, the
predicted texts of round N, and `round_N.json`, their counts; `round_N`, its bundle, and `round_N.both`, that before
fine-tuning on the labelled texts alone; `rounds.json` and `rounds.png`, the scores.
"""

import dataclasses
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tagger import corpus
from tagger.config import Config, passes_over
from tagger.files.outputs import atomic_folder, check_writable, locked, write_json
from tagger.learning.automatic import kept_kind
from tagger.learning.checks import check_corpora
from tagger.learning.device import use_device
from tagger.learning.labelling import Teachers, label_texts, on_this_machine
from tagger.learning.plots import draw_rounds
from tagger.learning.pretraining import pretrain
from tagger.learning.run import Sources, TextSources, claim, clear, finish, read_record
from tagger.learning.start import begun
from tagger.learning.tables import corpus_texts
from tagger.learning.training import train
from tagger.learning.unlabelled import Disk, TextSize, document_writer, gather_unlabelled
from tagger.progress import Stages, bar
from tagger.settings import merge


def transfer(
    config: Config,
    sources: Sources,
    out: Path,
    resume: bool = False,
    replace: bool = False,
    teachers: Teachers = on_this_machine,
) -> list[dict[str, Any]]:
    """Train a tagger on labelled and unlabelled texts and write its bundle, that of the round which is best on dev.

    All rounds are kept in `OUT.transfer`. An interrupted run continues with `resume` where it was, and ends with the
    weights it would have had.

    Args:
        config: All settings.
        sources: The files to read; they are streamed. The vectors are learnt from labelled and unlabelled texts.
        out: The bundle's folder.
        resume: Continue an interrupted run; start one if there is none.
        replace: Whether an existing bundle, and its rounds, may be replaced.
        teachers: Where texts are tagged.

    Returns:
        For each round its number, its scores on dev as `Scores.to_dict`, and the counts of the `predictions` for
        it, as `label_texts` returns them.

    Raises:
        TaggerError: If a file, a setting or the output folder is at fault.
    """
    check_writable(out, replace, sources.paths, folder=True)
    folder = out.with_name(out.name + ".transfer")
    with locked(folder, "training"):
        if replace and not resume:
            clear(folder)
        check_corpora(sources.train, sources.dev)
        claim(folder, config, sources, resume, "pretrained*", "round_*")
        config, sources = begun(config, sources, folder)
        kind = kept_kind(folder, use_device(config.training).kind)
        return _transfer(config, sources, out, folder, replace, kind, teachers)


def _transfer(
    config: Config, sources: Sources, out: Path, folder: Path, replace: bool, kind: str, teachers: Teachers
) -> list[dict[str, Any]]:
    """Run the rounds as `transfer` does, in a folder that is locked."""
    texts, pretrains = folder / "texts.jsonl.gz", _pretrains(config, sources)
    stages = Stages(transfer_stages(config, pretrains))
    if not texts.exists():
        stages.begin(_GATHERING)
        gather_unlabelled(sources, config.transfer.characters, config.training.seed, Disk.of_rounds(config), texts)
    if pretrains:
        pretrained = _pretrained(config, sources, folder, texts, stages, kind)
        first_sources = dataclasses.replace(sources, vectors=pretrained, start=pretrained, extend=False)
    else:
        first_sources = sources
    history: list[dict[str, Any]] = []
    for number in range(config.transfer.rounds + 1):
        history.append(run_round(Round(folder, number), config, first_sources, texts, stages, kind, teachers))
        write_json(folder / "rounds.json", history)
        draw_rounds(history, folder / "rounds.png")
        best_number = best_round(history, config.training.metric)
        if config.transfer.patience and number - best_number >= config.transfer.patience:
            break
    with atomic_folder(out, replace) as part:
        shutil.copytree(Round(folder, best_number).bundle, part, dirs_exist_ok=True)
    return history


_GATHERING, _PRETRAINING = "unlabelled texts", "pretraining"  # stages


def _pretrains(config: Config, sources: Sources) -> bool:
    return config.transfer.pretrain and config.text.unit == "char" and not sources.start


def transfer_stages(config: Config, pretrains: bool) -> list[str]:
    """Return the titles of the stages of self-training, as many as there are at most."""
    titles = [_GATHERING, *([_PRETRAINING] if pretrains else [])]
    for number in range(config.transfer.rounds + 1):
        kinds = [_BOTH, *([_FINE_TUNING] if config.transfer.fine_tune_epochs else [])]
        titles += [_title(number, config, kind) for kind in ([_PREDICTING, *kinds] if number else [_LABELLED])]
    return titles


def best_round(history: Sequence[dict[str, Any]], metric: str) -> int:
    """Return the number of the round with the highest `metric` on dev, the first of equals."""
    return int(max(history, key=lambda row: row.get(metric, 0.0))["round"])


def _pretrained(config: Config, sources: Sources, folder: Path, texts: Path, stages: Stages, kind: str) -> Path:
    """Pretrain a network on the labelled texts and on those to be tagged, and return its bundle."""
    bundle = folder / "pretrained"

    def run(out: Path) -> None:
        learnt_from = TextSources(sources.vector_texts, sources.vectors, sources.start, sources.extend)
        pretrain(config, learnt_from, out, resume=True, texts=[sources.train, texts], stages=Stages(), kind=kind)

    finish(bundle, _PRETRAINING, run, stages)
    return bundle


# ---- a round ----------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Round:
    """A round's files, by its number; round 0 has labelled texts alone."""

    folder: Path
    number: int

    @property
    def bundle(self) -> Path:
        """The tagger that the round ends with, the teacher of the next one."""
        return self.folder / f"round_{self.number}"

    @property
    def student(self) -> Path:
        """The tagger trained on labelled and predicted texts, before it is fine-tuned."""
        return self.folder / f"round_{self.number}.both"

    @property
    def predicted(self) -> Path:
        """The texts labelled by the teacher."""
        return self.folder / f"round_{self.number}.jsonl.gz"

    @property
    def counts(self) -> Path:
        """What `label_texts` returned."""
        return self.folder / f"round_{self.number}.json"

    @property
    def previous(self) -> "Round":
        """The round before."""
        return Round(self.folder, self.number - 1)


@dataclass(frozen=True)
class Step:
    """One training of a round: `train(config, sources, bundle)`."""

    title: str
    bundle: Path
    config: Config
    sources: Sources


# What a round does; titles of stages.
_LABELLED, _PREDICTING, _BOTH, _FINE_TUNING = (
    "training on labelled texts",
    "predicting",
    "training on both",
    "fine-tuning",
)


def run_round(
    this: Round,
    config: Config,
    sources: Sources,
    texts: Path,
    stages: Stages,
    kind: str = "",
    teachers: Teachers = on_this_machine,
) -> dict[str, Any]:
    """Make a round, or what of it is missing, and return its figures.

    Args:
        this: The round.
        config: All settings.
        sources: Of round 0.
        texts: The unlabelled texts.
        stages: Where to announce what begins.
        kind: Of the device on which the rounds began, as for `training.train`.
        teachers: Where texts are tagged.
    """
    predictions = {"texts": 0, "entities": 0, "labelled": 0.0}
    if this.number:
        if not this.predicted.exists():
            stages.begin(_title(this.number, config, _PREDICTING))
            _predict(this, config, texts, teachers)
            stages.end()
        predictions = read_record(this.counts)
    for step in plan_round(this, config, sources):

        def run(out: Path, step: Step = step) -> None:
            train(step.config, step.sources, out, resume=True, stages=Stages(), kind=kind)

        finish(step.bundle, step.title, run, stages)
    scores = read_record(this.bundle / "metrics.json")
    return {"round": this.number, "predictions": predictions, **scores}


def _title(number: int, config: Config, what: str) -> str:
    return f"round {number} of {config.transfer.rounds}: {what}"


def _predict(this: Round, config: Config, texts: Path, teachers: Teachers) -> None:
    """Write the predicted texts of a round, and their counts: those of the unlabelled texts, or of the round before."""
    agreeing = config.transfer.select == "agreed" and this.number > 1
    documents = corpus.read(this.previous.predicted if agreeing else texts)
    documents = bar(documents, desc="predicting", unit=" texts")
    with document_writer(this.predicted) as write, teachers(this.previous.bundle) as teacher:
        write_json(this.counts, label_texts(teacher, documents, config.transfer, agreeing, write))


def plan_round(this: Round, config: Config, sources: Sources) -> list[Step]:
    """Return the trainings of a round, in order; the last one writes the round's bundle.

    Args:
        this: The round.
        config: All settings.
        sources: Of round 0.
    """
    settings = config.transfer
    titles = {what: _title(this.number, config, what) for what in (_LABELLED, _BOTH, _FINE_TUNING)}
    if not this.number:
        return [Step(titles[_LABELLED], this.bundle, config, sources)]
    changes: dict[str, dict[str, Any]] = {"batches": {"masking": max(settings.masking, config.batches.masking)}}
    if settings.epochs != "auto":
        changes["training"] = {"epochs": settings.epochs}
    student_config = merge(config, changes, "transfer")
    student_sources = Sources(
        train=sources.train,
        dev=sources.dev,
        predicted=this.predicted,
        weight=settings.weights[min(this.number, len(settings.weights)) - 1],
        vectors=this.previous.bundle,
        start=Round(this.folder, 0).bundle if settings.restart else this.previous.bundle,
    )
    if not settings.fine_tune_epochs:
        return [Step(titles[_BOTH], this.bundle, student_config, student_sources)]
    tuning = {
        "epochs": fine_tune_passes(settings.fine_tune_epochs, sources.train),
        "learning_rate": settings.fine_tune_rate,
    }
    tuned_config = merge(student_config, {"training": tuning}, "transfer")
    tuned_sources = Sources(train=sources.train, dev=sources.dev, vectors=this.student, start=this.student)
    return [
        Step(titles[_BOTH], this.student, student_config, student_sources),
        Step(titles[_FINE_TUNING], this.bundle, tuned_config, tuned_sources),
    ]


def fine_tune_passes(most: int, labelled: Path) -> int:
    """Return the number of fine-tuning passes: enough for about a million characters, at least two, at most `most`."""
    characters = TextSize.of(corpus_texts([labelled])).characters
    return passes_over(characters, 1_000_000, least=2, most=most)
