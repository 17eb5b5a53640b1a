#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Baselines on a GPU in Python: Triton's MX-FP8 products and the vendor's. A program as docs/baseline-programs.md describes.

`millet run --baseline triton,cublaslt,bf16` starts it. By itself, on any GPU that torch knows (ROCm too):

    experiments/baselines/gpu_products.py --alone triton,triton_best [--m 1,64]

times the seed's dense cells, weights cold, calls replayed as one graph, and prints a line of JSON a cell and baseline.
"""
import argparse
import importlib
import json
import os
import sys

MODULE_OF = {"triton": "triton_products", "triton_best": "triton_products", "triton_retuned": "triton_products",
             "cublaslt": "vendor_products", "bf16": "vendor_products"}
SHAPES = {"qkv": (6144, 2304), "o_proj": (2048, 6144), "gate_up": (6144, 1536), "mlp_down": (1536, 6144)}  # K, N
ROWS = (1, 2, 4, 8, 16, 32, 64)
# Of any device that this is for: the MI355X keeps 256 MiB, which torch does not say.
LARGEST_CACHE_BYTES = 256 << 20
SAMPLES_ALONE = 15


class Unavailable(Exception):
    """Why nothing can be timed here, and what to install."""


def open_products(names):
    """The products called `names`. Raises Unavailable."""
    for name in names:
        if name not in MODULE_OF:
            raise Unavailable(f"no baseline '{name}'; there are: {', '.join(MODULE_OF)}")
    try:
        import torch
    except ImportError as reason:
        raise Unavailable(f"{sys.executable}: {reason}; install torch (pip install torch), or name another interpreter "
                          "in MILLET_PYTHON") from reason
    if not torch.cuda.is_available():
        raise Unavailable(f"torch {torch.__version__} of {sys.executable} finds no GPU; install a build of torch for this "
                          "machine's driver")
    products = {}
    for name in names:
        try:
            products[name] = importlib.import_module(MODULE_OF[name]).PRODUCTS[name]()
        except ImportError as reason:
            raise Unavailable(f"{sys.executable}: {reason}; install triton (pip install triton)") from reason
    return products


class KeptWeights:
    """Weights of the shape at hand, kept from one m and one baseline to the next."""

    def __init__(self):
        self.shape, self.weights = None, {}

    def of(self, shape):
        if shape != self.shape:
            import torch

            self.shape, self.weights = shape, {}
            torch.cuda.empty_cache()
        return self._get

    def _get(self, kind, make, copies):
        if len(self.weights.get(kind, ())) != copies:
            first = make()
            clone = (lambda: first.clone()) if not isinstance(first, tuple) else (lambda: tuple(x.clone() for x in first))
            self.weights[kind] = [first] + [clone() for _ in range(copies - 1)]
        return self.weights[kind]


class Program:
    """The answers to the driver's requests."""

    def __init__(self):
        self.products, self.prepared, self.kept = {}, {}, KeptWeights()

    def hello(self, request):
        self.products = open_products(request["baselines"])
        import torch

        return {"protocol": 1, "device": torch.cuda.get_device_name()}

    def prepare(self, request):
        import torch

        from timed_calls import Conditions, Declined, Incorrect

        conditions = Conditions(request["protocol"] == "cold+graph", request["last_level_cache_bytes"],
                                request["launches_per_sample"])
        product = self.products[request["baseline"]]
        shape = [request[x] for x in ("operation", "n", "k")] + request.get("expert_of_slot", [])
        try:
            calls, weight_bytes, detail = product.prepare(request, conditions, self.kept.of(shape))
        except Declined as reason:
            return {"declined": str(reason)}
        except Incorrect as reason:
            return {"incorrect": str(reason)}
        except torch.OutOfMemoryError as reason:
            return {"declined": str(reason).splitlines()[0]}
        self.prepared[request["id"]] = calls
        copies = conditions.copies(weight_bytes)
        return {"title": product.title(), "detail": detail, "copies": copies, "footprint_bytes": copies * weight_bytes}

    def sample(self, request):
        return {"seconds": self.prepared[request["id"]].seconds()}

    def release(self, _):
        self.prepared.clear()
        return {}

    def answer(self, request):
        try:
            return getattr(self, request["request"])(request)
        except Unavailable as reason:
            return {"error": str(reason)}
        except Exception as reason:
            return {"error": f"{type(reason).__name__}: {(str(reason).splitlines() or [''])[0]}"}


def serve():
    # Libraries print to standard output; only answers may.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    program = Program()
    for line in sys.stdin:
        print(json.dumps(program.answer(json.loads(line))), file=answers, flush=True)


def alone(names, rows):
    try:
        products = open_products(names)
    except Unavailable as reason:
        sys.exit(f"gpu_products: {reason}")
    import torch

    from timed_calls import Conditions, Declined

    conditions = Conditions(True, LARGEST_CACHE_BYTES, 1)
    kept = KeptWeights()
    for label, (k, n) in SHAPES.items():
        for m in rows:
            problem = {"operation": "dense", "m": m, "n": n, "k": k, "activation": "mx", "output": "bf16"}
            for name, product in products.items():
                line = {"label": label, "m": m, "n": n, "k": k, "baseline": name, "title": product.title(),
                        "device": torch.cuda.get_device_name()}
                try:
                    calls, _, line["detail"] = product.prepare(problem, conditions, kept.of((n, k)))
                    line["median_us"] = calls.median(SAMPLES_ALONE) * 1e6
                except Declined as reason:
                    line["declined"] = str(reason)
                print(json.dumps(line), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alone", metavar="NAMES", help="baselines to time without a driver, a list: " + ",".join(MODULE_OF))
    parser.add_argument("--m", default=",".join(map(str, ROWS)), help="rows of A, a list")
    arguments = parser.parse_args()
    if arguments.alone:
        alone(arguments.alone.split(","), [int(m) for m in arguments.m.split(",")])
    else:
        serve()


if __name__ == "__main__":
    main()
