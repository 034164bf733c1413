FROM python:3.11-slim
WORKDIR /src
# The dependencies first: they change less often than the code.
COPY pyproject.toml README.md ./
RUN pip install --no-cache-dir '.[metrics]'
COPY . .
RUN pip install --no-cache-dir --no-deps --force-reinstall . && rm -rf /src/*
RUN useradd --create-home --uid 10001 cutover
USER cutover
WORKDIR /home/cutover
ENV PYTHONUNBUFFERED=1
ENTRYPOINT ["cutover"]
CMD ["--help"]
