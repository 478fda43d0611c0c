# A static binary and the roots it trusts; nothing else, no shell. `ci/image` makes both and builds this.
FROM scratch
COPY dist/fantail /usr/bin/fantail
COPY dist/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
ENTRYPOINT ["/usr/bin/fantail"]
CMD ["-config.file=/etc/fantail/promtail.yaml"]
