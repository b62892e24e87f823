"""The SDK inside of what people use it in: real servers, workers and kernels, in processes of their own.

Needs the extra `dev-frameworks`; each test says by `needs` which packages it cannot do without, and skips.
"""
