"""One question per case to ckptfs and s3torchconnector alike: what becomes of
it, in a few words. docs/migration.md has the answers.

A case gets a library (libraries.py) and a place, which holds a torch.save file
"there.pt" and nothing else; what it returns or raises is its outcome."""

CASES = {}


def case(words):
    """Adds a function to CASES under these words."""
    def add(function):
        assert words not in CASES
        CASES[words] = function
        return function
    return add


def outcome(function, library, place):
    """The name of what is raised, or the value; at the cause where torch wraps
    what a rank raised."""
    try:
        value = function(library, place)
    except KeyboardInterrupt:
        raise
    # CheckpointException and PanicException are no Exceptions.
    except BaseException as error:  # noqa: BLE001
        failures = getattr(error, "failures", None)
        if failures:
            error = failures[0][0]
        return type(error).__name__
    return "done" if value is None else value if isinstance(
        value, str) else repr(value)
