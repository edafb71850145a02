"""A side that answers what it was asked, and says something on the way."""

import os

from side_by_side.channel import serve


def build(word):
    print("noise of a library")

    def answer(**request):
        print("more noise")
        if request.get("die"):
            os._exit(3)
        waits = os.environ.get("OMP_WAIT_POLICY")
        return {"seconds": request.get("seconds", 0.0), "word": word, "pid": os.getpid(), "waits": waits}

    return answer


serve(build)
