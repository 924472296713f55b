# The bridge in a container. BACnet finds devices by broadcast, which a container's own network
# does not carry: run it with `--network=host`.
#
#   docker build -t mbus-bacnet .
#   docker run --network=host --device=/dev/ttyUSB0 --group-add=dialout -v /etc/mbus-bacnet:/site mbus-bacnet run /site/site.yaml
FROM python:3.11-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY bridge bridge
RUN python -m venv /opt/mbus-bacnet && /opt/mbus-bacnet/bin/pip install --no-cache-dir .

FROM python:3.11-slim
COPY --from=build /opt/mbus-bacnet /opt/mbus-bacnet
RUN useradd --system --create-home --home-dir /var/lib/mbus-bacnet mbus-bacnet
USER mbus-bacnet
WORKDIR /var/lib/mbus-bacnet
EXPOSE 47808/udp
STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/mbus-bacnet/bin/mbus-bacnet"]
CMD ["run", "--demo"]
