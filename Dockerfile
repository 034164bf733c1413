FROM python:3.11-slim AS build
WORKDIR /src
RUN python -m venv /opt/cutover
# The dependencies first: they change less often than the code.
COPY pyproject.toml README.md ./
RUN /opt/cutover/bin/pip install --no-cache-dir .
COPY . .
RUN /opt/cutover/bin/pip install --no-cache-dir --no-deps --force-reinstall .

FROM python:3.11-slim
RUN useradd --create-home --uid 10001 cutover
COPY --from=build /opt/cutover /opt/cutover
ENV PATH=/opt/cutover/bin:$PATH PYTHONUNBUFFERED=1
USER cutover
WORKDIR /home/cutover
ENTRYPOINT ["cutover"]
CMD ["--help"]
