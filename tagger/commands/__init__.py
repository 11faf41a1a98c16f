"""What each command does and which options it takes: one row for each. Heavy imports wait until a command runs."""

from tagger.commands.bundles import EXPORT, GAZETTEER
from tagger.commands.corpora import CONVERT, INSPECT
from tagger.commands.help import HELP
from tagger.commands.learning import DISTIL, PRETRAIN, TRAIN, TRANSFER, VECTORS
from tagger.commands.prediction import PREDICT
from tagger.commands.redaction import REDACT
from tagger.commands.splitting import SPLIT
from tagger.commands.tagging import EVALUATE, SERVE

COMMANDS = {
    "train": TRAIN,
    "transfer": TRANSFER,
    "distil": DISTIL,
    "pretrain": PRETRAIN,
    "vectors": VECTORS,
    "evaluate": EVALUATE,
    "predict": PREDICT,
    "redact": REDACT,
    "serve": SERVE,
    "gazetteer": GAZETTEER,
    "export": EXPORT,
    "convert": CONVERT,
    "inspect": INSPECT,
    "split": SPLIT,
    "help": HELP,
}
