"""Writes the packages of a small site: fixture.py FOLDER."""

import io
import sys
import zipfile
from pathlib import Path


def packed(entries):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            info = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
            info.create_system = 3
            link = isinstance(content, tuple)
            info.external_attr = (0o120777 if link else 0o100644) << 16
            archive.writestr(info, content[0] if link else content)
    return out.getvalue()


def package(group, name, version, root, more=None, **properties):
    entries = {"group": group, "name": name, "version": version, **properties}
    listed = "".join(f'<entry key="{key}">{value}</entry>' for key, value in entries.items())
    return packed(
        {
            "META-INF/vault/filter.xml": f'<workspaceFilter version="1.0"><filter root="{root}"/></workspaceFilter>',
            "META-INF/vault/properties.xml": f"<properties>{listed}</properties>",
            "jcr_root/.content.xml": "<jcr:root/>",
            **(more or {}),
        }
    )


def main(folder):
    embedded = package("site", "embedded", "1.0", "/apps/embedded")
    files = {
        "site.core-1.0.zip": package("site", "core", "1.0", "/apps/core", packageType="application"),
        "site.content-1.0.zip": package(
            "site/inner", "content", "1.0", "/content/site", dependencies="site:core:[1.0,2.0)", packageType="content"
        ),
        "site.all-1.0.zip": package(
            "site", "all", "1.0", "/apps/packages", {"jcr_root/apps/packages/application/install/x.zip": embedded}
        ),
        "site.dispatcher-1.0.zip": packed(
            {
                "conf.d/available_vhosts/a.vhost": "<VirtualHost/>",
                "conf.d/enabled_vhosts/a.vhost": ("../available_vhosts/a.vhost",),
                "conf.dispatcher.d/available_farms/a.farm": "/a {}",
                "conf.dispatcher.d/enabled_farms/a.farm": ("../available_farms/a.farm",),
                "opt-in/USE_SOURCES_DIRECTLY": "",
            }
        ),
    }
    for name, content in files.items():
        (Path(folder) / name).write_bytes(content)


main(sys.argv[1])
