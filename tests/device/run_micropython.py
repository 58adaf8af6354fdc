"""Runs the device's and the wire's tests under MicroPython, which has no pytest.

    micropython -X heapsize=256k tests/device/run_micropython.py [FILE ...]

Imports each file and calls each `test_*` function in it; without arguments it takes every
`test_*.py` of tests/device and tests/wire but `test_host_*`, which belong to pytest alone. Prints
a traceback a failure, a line a file and a closing line; exits 1 if anything failed, also if a
file holds no test. The least free heap is taken after a collection at the end of each test, so it
is what the tests' leftovers leave.
"""

import gc
import os
import sys

HERE = sys.argv[0].rsplit("/", 1)[0] if "/" in sys.argv[0] else "."
FOLDERS = (HERE, HERE + "/../wire")
FIRMWARE = HERE + "/../../device"


def is_ours(name: str) -> bool:
    """Whether a file name is that of a test for both interpreters."""
    return name.startswith("test_") and name.endswith(".py") and not name.startswith("test_host_")


def discover() -> list:
    """Paths of all test files, in order."""
    found = []
    for folder in FOLDERS:
        found += [folder + "/" + name for name in sorted(os.listdir(folder)) if is_ours(name)]
    return found


def free_bytes() -> int:
    """Free heap after a collection."""
    gc.collect()
    return gc.mem_free()


def run_test(path: str, module: object, name: str) -> bool:
    """Calls one test; prints what went wrong."""
    try:
        getattr(module, name)()
    except Exception as error:
        print("FAILED", path + "::" + name)
        sys.print_exception(error)
        return False
    return True


def run_file(path: str) -> tuple:
    """Runs one file; returns passed, failed and the least free heap in bytes."""
    folder, file = path.rsplit("/", 1) if "/" in path else (".", path)
    name = file[:-3]
    sys.path.insert(0, folder)
    passed = failed = 0
    least = free_bytes()
    # As `start` does on a board: what the compiler leaves behind is taken away while modules
    # load, or it cuts the heap into pieces that later code does not fit into.
    gc.threshold(8192)
    try:
        module = __import__(name)
    except Exception as error:
        print("FAILED", path, "at import")
        sys.print_exception(error)
        return 0, 1, free_bytes()
    finally:
        gc.threshold(-1)
        sys.path.pop(0)
    for test in sorted(dir(module)):
        if test.startswith("test_") and callable(getattr(module, test)):
            if run_test(path, module, test):
                passed += 1
            else:
                failed += 1
            least = min(least, free_bytes())
    del sys.modules[name]
    if not passed + failed:
        print("FAILED", path, "holds no test")
        failed = 1
    return passed, failed, least


def main(paths: list) -> int:
    """Runs the files and prints the sum."""
    if FIRMWARE not in sys.path:
        sys.path.insert(0, FIRMWARE)
    passed = failed = 0
    least = free_bytes()
    heap = least + gc.mem_alloc()
    for path in paths:
        good, bad, free = run_file(path)
        print(path, good, "passed,", bad, "failed, least free", free)
        passed += good
        failed += bad
        least = min(least, free)
    print("sum: passed", passed, "failed", failed, "least_free", least, "heap", heap)
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or discover()))
